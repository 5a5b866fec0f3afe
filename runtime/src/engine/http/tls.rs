//! The root certificates that functions trust.

use std::env;
use std::sync::Arc;

use rustls_native_certs::CertificateResult;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// The environment variables that name the certificates to trust instead of those of the system.
const VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// If `SSL_CERT_FILE` or `SSL_CERT_DIR` is set, only the certificates that they name are trusted. Otherwise
/// those of the system are trusted. If the system has none, as in a container with nothing but this binary,
/// those of Mozilla are trusted.
pub(super) fn config() -> Result<Arc<ClientConfig>, String> {
    let roots = roots(rustls_native_certs::load_native_certs(), &configured())?;
    let provider = Arc::new(crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The environment variables that are set, each with its path. Empty: none is set.
fn configured() -> String {
    let set = VARIABLES.iter().filter_map(|name| env::var_os(name).map(|path| format!("{name}={}", path.display())));
    set.collect::<Vec<_>>().join(" ")
}

/// If certificates are configured, only those are trusted. It is an error if they cannot be read.
fn roots(found: CertificateResult, configured: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "root certificates loaded");
    if !configured.is_empty() {
        if !errors.is_empty() {
            return Err(format!("the certificates of {configured} cannot be read: {}", errors.join("; ")));
        }
        if roots.is_empty() {
            return Err(format!("there is no certificate in {configured}"));
        }
        return Ok(roots);
    }
    if !errors.is_empty() {
        tracing::warn!("cannot read certificates of the system: {}", errors.join("; "));
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
    fn configured_certificates_that_cannot_be_read_are_an_error() {
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
