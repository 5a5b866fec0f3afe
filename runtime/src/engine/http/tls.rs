//! Whom a function trusts that says who it is.

use std::env;
use std::sync::Arc;

use rustls_native_certs::CertificateResult;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// What names the certificates to trust instead of those of the system.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Trusts the certificates that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, and no others; without them,
/// those of the system; and those of Mozilla where it has none, as in a container that holds this
/// binary only.
pub(super) fn config() -> Result<Arc<ClientConfig>, String> {
    let roots = roots(rustls_native_certs::load_native_certs(), &named())?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The variables that are set, each with its path. Empty: the system's are meant.
fn named() -> String {
    let set = VARIABLES.iter().filter_map(|name| env::var_os(name).map(|path| format!("{name}={}", path.display())));
    set.collect::<Vec<_>>().join(" ")
}

/// Who was told whom to trust trusts nobody else, also if that cannot be read.
fn roots(found: CertificateResult, named: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "certificates");
    if !named.is_empty() {
        if !errors.is_empty() {
            return Err(format!("the certificates of {named} cannot be read: {}", errors.join("; ")));
        }
        if roots.is_empty() {
            return Err(format!("there is no certificate in {named}"));
        }
        return Ok(roots);
    }
    if !errors.is_empty() {
        tracing::warn!("certificates of the system cannot be read: {}", errors.join("; "));
    }
    if roots.is_empty() {
        tracing::info!("the system has no certificates, so functions trust those of Mozilla");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustls_native_certs::load_certs_from_paths;

    use super::*;

    #[test]
    fn certificates_that_are_named_and_cannot_be_used_are_an_error() {
        let missing = Path::new("/no/such/file.pem");
        let error = roots(load_certs_from_paths(Some(missing), None), "SSL_CERT_FILE=/no/such/file.pem");
        let error = error.expect_err("an error");
        assert!(error.starts_with("the certificates of SSL_CERT_FILE=/no/such/file.pem cannot be read: "), "{error}");
        let empty = tempfile::tempdir().expect("a folder");
        let error = roots(load_certs_from_paths(None, Some(empty.path())), "SSL_CERT_DIR=/empty");
        assert_eq!(error.expect_err("an error"), "there is no certificate in SSL_CERT_DIR=/empty");
    }

    #[test]
    fn a_system_without_certificates_trusts_those_of_mozilla() {
        let roots = roots(CertificateResult::default(), "").expect("certificates");
        assert_eq!(roots.len(), webpki_roots::TLS_SERVER_ROOTS.len());
    }
}
