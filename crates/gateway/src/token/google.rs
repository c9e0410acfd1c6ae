//! Google's files of credentials: keys of service accounts, and what `gcloud auth application-default login` leaves. Reads
//! their text, and refuses what it could not use.
//! Source: <https://docs.cloud.google.com/docs/authentication/application-default-credentials> (2026-11-26).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::RsaKeyPair;
use serde::Deserialize;

use crate::settings::{Secret, TokenSource};

/// Where files without a `token_uri` get their tokens.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// Why a file of credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not JSON, or a field is missing. What stands in it is not repeated.
    #[error("the credentials are not a JSON file of Google's: `{field}` is missing or not a text")]
    Field {
        /// The field.
        field: &'static str,
    },
    /// Credentials of a kind that is not known here.
    #[error(
        "credentials of type `{kind}` are not supported; use a key of a service account, or those of `gcloud auth application-default login`"
    )]
    Kind {
        /// As the file says.
        kind: String,
    },
    /// The key is no key.
    #[error("the private key is not an RSA key in PEM (PKCS #8); download the key file again")]
    PrivateKey,
}

/// What a file may say.
#[derive(Deserialize)]
struct KeyFile {
    r#type: Option<String>,
    project_id: Option<String>,
    quota_project_id: Option<String>,
    private_key_id: Option<String>,
    private_key: Option<Secret>,
    client_email: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    refresh_token: Option<Secret>,
    token_uri: Option<String>,
}

/// Reads a file of credentials: where tokens come from, and the project it belongs to if it says so.
///
/// # Errors
/// [`KeyFileError`] names what is missing or wrong, and no secret.
pub fn read_credentials(text: &str) -> Result<(TokenSource, Option<String>), KeyFileError> {
    let missing = |field: &'static str| KeyFileError::Field { field };
    let file: KeyFile = serde_json::from_str(text).map_err(|_| missing("type"))?;
    let token_url = file.token_uri.unwrap_or_else(|| TOKEN_URL.to_owned());
    let project = file.project_id.or(file.quota_project_id);
    let source = match file.r#type.as_deref() {
        Some("service_account") => {
            let private_key = file.private_key.ok_or(missing("private_key"))?;
            signing_key(&private_key)?;
            TokenSource::ServiceAccount {
                client_email: file.client_email.ok_or(missing("client_email"))?,
                private_key_id: file.private_key_id.unwrap_or_default(),
                private_key,
                token_url,
            }
        }
        Some("authorized_user") => TokenSource::AuthorizedUser {
            client_id: file.client_id.ok_or(missing("client_id"))?,
            client_secret: file.client_secret.ok_or(missing("client_secret"))?,
            refresh_token: file.refresh_token.ok_or(missing("refresh_token"))?,
            token_url,
        },
        Some(kind) => return Err(KeyFileError::Kind { kind: kind.to_owned() }),
        None => return Err(missing("type")),
    };
    Ok((source, project))
}

/// The key in a PEM text.
///
/// # Errors
/// [`KeyFileError::PrivateKey`] if there is none.
pub(super) fn signing_key(pem: &Secret) -> Result<RsaKeyPair, KeyFileError> {
    let lines = pem.reveal().lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let der = BASE64.decode(lines.collect::<String>()).map_err(|_| KeyFileError::PrivateKey)?;
    // Keys of OpenSSL's older form (PKCS #1) are not Google's, but do no harm.
    let key = RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
    key.map_err(|_| KeyFileError::PrivateKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_lacks_is_named_and_no_secret_repeated() {
        let refused = |text: &str| read_credentials(text).unwrap_err().to_string();
        assert!(refused("not json").contains("`type`"));
        assert!(refused(r#"{"type":"external_account"}"#).contains("`external_account`"));
        assert!(refused(r#"{"type":"service_account","client_email":"a"}"#).contains("`private_key`"));
        let message = refused(
            r#"{"type":"service_account","client_email":"a","private_key":"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"}"#,
        );
        assert!(message.contains("private key") && !message.contains("c2VjcmV0"), "{message}");
    }

    #[test]
    fn what_gcloud_leaves_is_read() {
        let text = r#"{"type":"authorized_user","client_id":"c","client_secret":"s-1","refresh_token":"r-1","quota_project_id":"p"}"#;
        let (source, project) = read_credentials(text).unwrap();
        assert_eq!(project.as_deref(), Some("p"));
        assert!(matches!(&source, TokenSource::AuthorizedUser { token_url, .. } if token_url == TOKEN_URL));
        let shown = format!("{source:?}");
        assert!(!shown.contains("s-1") && !shown.contains("r-1"), "{shown}");
    }
}
