//! What the attribute writes: the function as it is, a type of the same name that implements
//! `Function` by calling it, and for wasm the export of that type as the handler.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemFn, Result, ReturnType};

use crate::signature::{self, Answer, Form};

pub(crate) fn function(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments = signature::arguments(arguments)?;
    let mut function = signature::plain_function(item)?;
    let form = signature::form(&function, arguments.json)?;
    let overlap = signature::overlap(&function, &arguments, &form)?;
    if function.sig.asyncness.is_some() {
        signature::spell_lifetimes(&mut function);
    }
    let implementation = implementation(&function, &form, overlap);
    let name = &function.sig.ident;
    let visibility = &function.vis;

    Ok(quote! {
        // Lifetimes are left out, as the documentation does, whatever the author's lints say; and
        // a typed value is the function's own even if it only reads it.
        #[allow(elided_lifetimes_in_paths, mismatched_lifetime_syntaxes, clippy::needless_pass_by_value)]
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility struct #name {}

        #implementation

        // On the host nothing else may use the function, and it is not dead.
        const _: fn(::tidegate_sdk::Batch<'_>, &mut ::tidegate_sdk::Outcome) =
            <#name as ::tidegate_sdk::Function>::call;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl ::tidegate_sdk::__private::Guest for Component {
                fn handle(batch: ::tidegate_sdk::__private::Batch) -> ::tidegate_sdk::__private::Outcome {
                    ::tidegate_sdk::__private::handle::<#name>(batch)
                }
            }

            ::tidegate_sdk::__private::export!(Component with_types_in ::tidegate_sdk::__private::bindings);
        };
    })
}

/// The variables in it are of the macro's own making (`mixed_site`), so that a function called
/// `record` or `outcome` is not mistaken for one of them.
fn implementation(function: &ItemFn, form: &Form, overlap: Option<usize>) -> TokenStream {
    let name = &function.sig.ident;
    let own = Span::mixed_site();
    let body = body(function, form, overlap, own);
    quote_spanned! {own=>
        impl ::tidegate_sdk::Function for #name {
            fn call(batch: ::tidegate_sdk::Batch<'_>, outcome: &mut ::tidegate_sdk::Outcome) {
                #body
            }
        }
    }
}

fn body(function: &ItemFn, form: &Form, overlap: Option<usize>, own: Span) -> TokenStream {
    if let Some(limit) = overlap {
        let one = one_record(function, form, &quote_spanned!(own=> &mut outcome.borrow_mut()), own);
        return quote_spanned! {own=>
            let outcome = ::core::cell::RefCell::new(outcome);
            ::tidegate_sdk::__private::block_on(::tidegate_sdk::__private::overlap(batch, #limit, async |record| {
                #one
            }));
        };
    }
    let all = match form {
        Form::Batch => whole_batch(function, own),
        Form::Record | Form::Json { .. } => {
            let one = one_record(function, form, &quote_spanned!(own=> outcome), own);
            quote_spanned! {own=>
                for record in batch {
                    #one
                }
            }
        }
    };
    match function.sig.asyncness {
        None => all,
        Some(_) => quote_spanned!(own=> ::tidegate_sdk::__private::block_on(async { #all });),
    }
}

fn whole_batch(function: &ItemFn, own: Span) -> TokenStream {
    let (name, wait, answer) = (&function.sig.ident, wait(function, own), answer(function, own));
    quote_spanned! {own=>
        let #answer = #name(batch, outcome) #wait;
        ::tidegate_sdk::__private::BatchAnswer::into_outcome(#answer, batch, outcome);
    }
}

/// What is done with a record. `outcome` is where its answer goes.
fn one_record(function: &ItemFn, form: &Form, outcome: &TokenStream, own: Span) -> TokenStream {
    let (name, wait, answer) = (&function.sig.ident, wait(function, own), answer(function, own));
    let into_outcome = quote!(::tidegate_sdk::IntoOutcome::into_outcome);
    let Form::Json { value, with_record } = form else {
        return quote_spanned! {own=>
            let #answer = #name(record) #wait;
            #into_outcome(#answer, record, #outcome);
        };
    };
    let record = with_record.then(|| quote_spanned!(own=> , record));
    let as_outcome = wrapped(&signature::json_answer(&function.sig.output), &answer);
    quote_spanned! {own=>
        match record.json::<#value>() {
            ::core::result::Result::Ok(value) => {
                let #answer = #name(value #record) #wait;
                #into_outcome(#as_outcome, record, #outcome);
            }
            ::core::result::Result::Err(error) => ::tidegate_sdk::Outcome::fail(#outcome, record, error),
        }
    }
}

/// At the place of the return type, so that an answer which does not fit is an error there.
fn answer(function: &ItemFn, own: Span) -> Ident {
    match &function.sig.output {
        ReturnType::Default => Ident::new("answer", own),
        ReturnType::Type(_, ty) => Ident::new("answer", ty.span().resolved_at(own)),
    }
}

fn wait(function: &ItemFn, own: Span) -> Option<TokenStream> {
    function.sig.asyncness.map(|_| quote_spanned!(own=> .await))
}

/// The answer, its serde values wrapped in `Json`.
fn wrapped(answer_type: &Answer, answer: &Ident) -> TokenStream {
    match answer_type {
        Answer::Own => quote!(#answer),
        Answer::Json => quote_spanned!(answer.span()=> ::tidegate_sdk::Json(#answer)),
        Answer::Mapped(inner) => {
            let inner = wrapped(inner, answer);
            quote_spanned!(answer.span()=> #answer.map(|#answer| #inner))
        }
        Answer::List(inner) => {
            let inner = wrapped(inner, answer);
            quote_spanned! {answer.span()=>
                #answer.into_iter().map(|#answer| #inner).collect::<::std::vec::Vec<_>>()
            }
        }
    }
}
