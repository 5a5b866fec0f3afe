//! What the author wrote, checked: the arguments of the attribute and the parameters.

use proc_macro2::{Span, TokenStream};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Error, FnArg, GenericArgument, GenericParam, Ident, Item, ItemFn, LitInt, PathArguments, Result, ReturnType, Token,
    Type, parse_quote_spanned,
};

/// What a function takes.
pub(crate) enum Form {
    Record,
    Batch,
    /// A value of this type, and the record too if it asks for it.
    Json {
        value: Box<Type>,
        with_record: bool,
    },
}

const PARAMETERS: &str = "a function takes `record: Record`, or `batch: Batch, outcome: &mut Outcome`; \
     for a typed value, write `#[tidegate_sdk::function(json)]`";
const JSON_PARAMETERS: &str = "a function of JSON takes a value of a type that serde reads, \
     and perhaps `record: Record` behind it";

/// What the attribute says.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) json: bool,
    /// How many records may be handled at a time, and where that stands.
    pub(crate) concurrent: Option<(Span, usize)>,
}

const ARGUMENTS: &str = "expected nothing, `json`, or `concurrent = 64` here";

enum Argument {
    Json,
    Concurrent(Span, LitInt),
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        if name == "json" {
            return Ok(Self::Json);
        }
        if name != "concurrent" {
            return Err(Error::new(name.span(), ARGUMENTS));
        }
        input.parse::<Token![=]>()?;
        Ok(Self::Concurrent(name.span(), input.parse()?))
    }
}

pub(crate) fn arguments(arguments: TokenStream) -> Result<Arguments> {
    let parser = Punctuated::<Argument, Token![,]>::parse_terminated;
    let parsed = parser.parse2(arguments).map_err(|error| Error::new(error.span(), ARGUMENTS))?;
    let mut found = Arguments::default();
    for argument in parsed {
        match argument {
            Argument::Json => found.json = true,
            Argument::Concurrent(span, number) => match number.base10_parse() {
                Ok(limit) if limit > 0 => found.concurrent = Some((span, limit)),
                _ => return Err(Error::new(number.span(), "at least 1 record is handled at a time")),
            },
        }
    }
    Ok(found)
}

/// The item, when it is a function that can be called like any other.
pub(crate) fn plain_function(item: TokenStream) -> Result<ItemFn> {
    let function = match syn::parse2(item)? {
        Item::Fn(function) => function,
        _ => {
            return Err(Error::new(Span::call_site(), "`tidegate_sdk::function` goes on a function"));
        }
    };
    let signature = &function.sig;
    if let Some(word) = &signature.asyncness
        && !cfg!(feature = "async")
    {
        let why = "an async function needs a feature of `tidegate-sdk`: \
                   `features = [\"http\"]`, or `[\"async\"]` if it does not ask by HTTP";
        return Err(Error::new(word.span, why));
    }
    if let Some(word) = &signature.unsafety {
        return Err(Error::new(word.span, "a function is not unsafe: the runtime just calls it"));
    }
    let typed = |parameter: &&GenericParam| !matches!(parameter, GenericParam::Lifetime(_));
    if let Some(parameter) = signature.generics.params.iter().find(typed) {
        let why = "a function has no type parameters: the runtime would not know what to fill in";
        return Err(Error::new_spanned(parameter, why));
    }
    Ok(function)
}

/// How many records are handled at a time, if they are to overlap.
pub(crate) fn overlap(function: &ItemFn, arguments: &Arguments, form: &Form) -> Result<Option<usize>> {
    let Some((span, limit)) = arguments.concurrent else {
        return Ok(None);
    };
    if function.sig.asyncness.is_none() {
        return Err(Error::new(span, "`concurrent` is for an `async fn`: what does not wait has nothing to overlap"));
    }
    if let Form::Batch = form {
        return Err(Error::new(span, "a function of a batch says itself what overlaps: it takes no `concurrent`"));
    }
    Ok(Some(limit))
}

/// Spells out the lifetimes of an async function, which may be left out of any other.
pub(crate) fn spell_lifetimes(function: &mut ItemFn) {
    for parameter in &mut function.sig.inputs {
        // By name, as `Kind` is: a value of an author's own type is left alone.
        if let FnArg::Typed(parameter) = parameter
            && Kind::of(&parameter.ty) != Kind::Value
        {
            spell_lifetimes_of(&mut parameter.ty);
        }
    }
    if let ReturnType::Type(_, ty) = &mut function.sig.output {
        spell_lifetimes_of(ty);
    }
}

fn spell_lifetimes_of(ty: &mut Type) {
    match ty {
        Type::Array(array) => spell_lifetimes_of(&mut array.elem),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last_mut() else {
                return;
            };
            let has_lifetime = ["Record", "Batch", "Message"].iter().any(|name| last.ident == name);
            match &mut last.arguments {
                PathArguments::None if has_lifetime => {
                    last.arguments = PathArguments::AngleBracketed(parse_quote_spanned!(last.ident.span()=> <'_>));
                }
                PathArguments::AngleBracketed(arguments) => {
                    for argument in &mut arguments.args {
                        if let GenericArgument::Type(ty) = argument {
                            spell_lifetimes_of(ty);
                        }
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

pub(crate) fn form(function: &ItemFn, json: bool) -> Result<Form> {
    let types: Vec<&Type> = function.sig.inputs.iter().map(parameter_type).collect::<Result<_>>()?;
    let kinds: Vec<Kind> = types.iter().map(|ty| Kind::of(ty)).collect();
    match (json, &kinds[..]) {
        (false, [Kind::Record]) => Ok(Form::Record),
        (false, [Kind::Batch, Kind::Outcome]) => Ok(Form::Batch),
        (true, [Kind::Value]) => Ok(Form::Json { value: Box::new(types[0].clone()), with_record: false }),
        (true, [Kind::Value, Kind::Record]) => Ok(Form::Json { value: Box::new(types[0].clone()), with_record: true }),
        _ => Err(wrong_parameters(function, &types, &kinds, json)),
    }
}

/// The error at the first parameter that is wrong, or at the last one when another is missing, or
/// at the name of the function when there is none.
fn wrong_parameters(function: &ItemFn, types: &[&Type], kinds: &[Kind], json: bool) -> Error {
    let (forms, expected): (&[&[Kind]], _) = if json {
        (&[&[Kind::Value, Kind::Record]], JSON_PARAMETERS)
    } else {
        (&[&[Kind::Record], &[Kind::Batch, Kind::Outcome]], PARAMETERS)
    };
    let right = |form: &&[Kind]| form.iter().zip(kinds).take_while(|(a, b)| a == b).count();
    let first_wrong = forms.iter().map(right).max().unwrap_or(0);
    match types.get(first_wrong).or(types.last()) {
        Some(ty) => Error::new_spanned(ty, expected),
        None => Error::new_spanned(&function.sig.ident, expected),
    }
}

fn parameter_type(parameter: &FnArg) -> Result<&Type> {
    match parameter {
        FnArg::Typed(parameter) => Ok(&parameter.ty),
        FnArg::Receiver(receiver) => {
            Err(Error::new_spanned(receiver, "a function stands by itself, it is not a method"))
        }
    }
}

/// What a parameter is, by the name of its type.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Record,
    Batch,
    Outcome,
    /// Anything else: a typed value.
    Value,
}

impl Kind {
    fn of(ty: &Type) -> Self {
        match ty {
            Type::Reference(reference) if reference.mutability.is_some() => {
                if is_named(&reference.elem, "Outcome") {
                    Kind::Outcome
                } else {
                    Kind::Value
                }
            }
            _ if is_named(ty, "Record") => Kind::Record,
            _ if is_named(ty, "Batch") => Kind::Batch,
            _ => Kind::Value,
        }
    }
}

fn is_named(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == name))
}

/// How a returned type becomes what implements `IntoOutcome`.
pub(crate) enum Answer {
    /// It does already.
    Own,
    /// It is a value for serde to write.
    Json,
    /// It is `Result` or `Option` of this.
    Mapped(Box<Answer>),
    /// It is `Vec` of this.
    List(Box<Answer>),
}

pub(crate) fn json_answer(output: &ReturnType) -> Answer {
    match output {
        ReturnType::Default => Answer::Own,
        ReturnType::Type(_, ty) => answer_of(ty),
    }
}

fn answer_of(ty: &Type) -> Answer {
    match ty {
        Type::Tuple(tuple) if tuple.elems.is_empty() => Answer::Own,
        Type::Paren(inner) => answer_of(&inner.elem),
        Type::Group(inner) => answer_of(&inner.elem),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return Answer::Json;
            };
            if last.ident == "Message" || last.ident == "Json" {
                return Answer::Own;
            }
            let Some(inner) = first_argument(&last.arguments) else {
                return Answer::Json;
            };
            let wrap = if last.ident == "Result" || last.ident == "Option" {
                Answer::Mapped
            } else if last.ident == "Vec" {
                Answer::List
            } else {
                return Answer::Json;
            };
            match answer_of(inner) {
                Answer::Own => Answer::Own,
                other => wrap(Box::new(other)),
            }
        }
        _ => Answer::Json,
    }
}

fn first_argument(arguments: &PathArguments) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}
