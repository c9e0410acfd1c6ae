//! AWS Signature Version 4, as a pure function: credentials, a request and a time go in, headers come out. It reads no
//! clock and looks for no credentials. Paths must come percent-encoded as they go over the wire; the signature encodes them
//! once more, as every service but S3 wants it, and does not resolve `.` and `..`, which [`encoded_segment`] cannot make.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html> (2026-11-26).

use std::fmt::Write as _;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// Name by which Bedrock's calls are signed, whichever of its endpoints they go to.
pub const BEDROCK: &str = "bedrock";

/// Keys of an account or of a role someone has taken on.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// `AKIA…`, or `ASIA…` for a role.
    pub access_key_id: &'a str,
    /// The secret that belongs to it.
    pub secret_access_key: &'a str,
    /// Comes with the keys of a role.
    pub session_token: Option<&'a str>,
}

impl std::fmt::Debug for Credentials<'_> {
    /// Says whose they are and no secret.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// What is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// `POST`.
    pub method: &'a str,
    /// Path, percent-encoded as it is sent.
    pub path: &'a str,
    /// Fields of the query, percent-encoded as they are sent; without `?`.
    pub query: &'a str,
    /// Headers that are covered by the signature, `host` among them. Proxies may not change these.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body in lower-case hexadecimal: [`body_sha256`].
    pub body_sha256: &'a str,
}

/// Where and when the signature holds.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `eu-central-1`.
    pub region: &'a str,
    /// [`BEDROCK`].
    pub service: &'a str,
    /// Seconds since 1970. AWS accepts five minutes more or less.
    pub at_s: i64,
}

/// Headers to add to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// `authorization`.
    pub authorization: String,
    /// `x-amz-date`.
    pub x_amz_date: String,
    /// `x-amz-security-token`, where the credentials have one.
    pub x_amz_security_token: Option<String>,
}

/// SHA-256 of a body, as [`Unsigned::body_sha256`] wants it.
#[must_use]
pub fn body_sha256(body: &[u8]) -> String {
    hex(&Sha256::digest(body))
}

/// One segment of a path, percent-encoded: a model's id holds `:`, its ARN `/` as well.
#[must_use]
pub fn encoded_segment(segment: &str) -> String {
    encoded(segment, is_unreserved)
}

/// Signs a request.
#[must_use]
pub fn sign(credentials: Credentials<'_>, scope: Scope<'_>, request: Unsigned<'_>) -> Signed {
    let x_amz_date = timestamp(scope.at_s);
    let date = x_amz_date.get(..8).unwrap_or_default();
    let (canonical, signed_headers) = canonical_request(credentials, &x_amz_date, request);
    let credential_scope = format!("{date}/{}/{}/aws4_request", scope.region, scope.service);
    let hash = hex(&Sha256::digest(canonical.as_bytes()));
    let to_sign = format!("AWS4-HMAC-SHA256\n{x_amz_date}\n{credential_scope}\n{hash}");
    let mut key = format!("AWS4{}", credentials.secret_access_key).into_bytes();
    for step in [date, scope.region, scope.service, "aws4_request", &to_sign] {
        key = hmac(&key, step);
    }
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{credential_scope}, SignedHeaders={signed_headers}, Signature={}",
        credentials.access_key_id,
        hex(&key)
    );
    Signed { authorization, x_amz_date, x_amz_security_token: credentials.session_token.map(str::to_owned) }
}

/// The request in the form that both sides can compute, and the names of the headers in it.
fn canonical_request(credentials: Credentials<'_>, x_amz_date: &str, request: Unsigned<'_>) -> (String, String) {
    let mut headers: Vec<(String, String)> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), trimmed(value))).collect();
    headers.push(("x-amz-date".to_owned(), x_amz_date.to_owned()));
    headers.extend(credentials.session_token.map(|token| ("x-amz-security-token".to_owned(), token.to_owned())));
    // By name alone: the values of one name stay in their order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    headers.dedup_by(|(name, value), (first, values)| {
        let is_same = name == first;
        if is_same {
            values.push(',');
            values.push_str(value);
        }
        is_same
    });
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let signed_headers = names.join(";");
    let mut canonical = format!("{}\n", request.method);
    canonical.push_str(&encoded(request.path, |byte| is_unreserved(byte) || byte == b'/'));
    canonical.push('\n');
    canonical.push_str(&canonical_query(request.query));
    canonical.push('\n');
    for (name, value) in &headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{signed_headers}\n{}", request.body_sha256);
    (canonical, signed_headers)
}

fn canonical_query(query: &str) -> String {
    let fields = query.split('&').filter(|field| !field.is_empty());
    let mut fields: Vec<(&str, &str)> = fields.map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    fields.sort_unstable();
    let fields: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    fields.join("&")
}

/// A header's value without space around it and with one space for several.
fn trimmed(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encoded(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// `20150830T123600Z`.
fn timestamp(at_s: i64) -> String {
    const SECONDS_PER_DAY: i64 = 86_400;
    let (year, month, day) = crate::price::civil_date(at_s.div_euclid(SECONDS_PER_DAY));
    let second = at_s.rem_euclid(SECONDS_PER_DAY);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length will do for HMAC: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of AWS's published test suite, which everything below comes from unless it says otherwise.
    const CREDENTIALS: Credentials<'static> = Credentials {
        access_key_id: "AKIDEXAMPLE",
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
    };
    const SCOPE: Scope<'static> = Scope { region: "us-east-1", service: "service", at_s: 1_440_938_160 };
    const HOST: (&str, &str) = ("Host", "example.amazonaws.com");

    fn signature(method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> (String, String) {
        let body_sha256 = body_sha256(body);
        let signed =
            sign(CREDENTIALS, SCOPE, Unsigned { method, path: "/", query, headers, body_sha256: &body_sha256 });
        assert_eq!(signed.x_amz_date, "20150830T123600Z");
        let rest = signed.authorization.strip_prefix(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=",
        );
        let (headers, signature) = rest.unwrap().split_once(", Signature=").unwrap();
        (headers.to_owned(), signature.to_owned())
    }

    #[test]
    fn amazons_test_vectors_are_met() {
        type Vector<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);
        let vectors: [Vector<'_>; 8] = [
            (
                "GET",
                "",
                &[HOST],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "POST",
                "",
                &[HOST],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "GET",
                "Param2=value2&Param1=value1",
                &[HOST],
                "",
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "GET",
                "Param1=value2&Param1=Value1",
                &[HOST],
                "",
                "host;x-amz-date",
                "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
            ),
            (
                "GET",
                "",
                &[HOST, ("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
                "",
                "host;my-header1;x-amz-date",
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            ),
            (
                "GET",
                "",
                &[HOST, ("My-Header1", " value1"), ("My-Header2", r#" "a   b   c""#)],
                "",
                "host;my-header1;my-header2;x-amz-date",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "POST",
                "",
                &[HOST, ("My-Header1", "VALUE1")],
                "",
                "host;my-header1;x-amz-date",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
            ),
            (
                "POST",
                "",
                &[HOST, ("Content-Type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (method, query, headers, body, names, expected) in vectors {
            let (signed, signature) = signature(method, query, headers, body.as_bytes());
            assert_eq!((signed.as_str(), signature.as_str()), (names, expected), "{method} {query} {headers:?}");
        }
    }

    #[test]
    fn a_path_is_encoded_again_and_a_token_signed() {
        // As Amazon's own client for Python signs it (botocore 1.44.8).
        let model = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2";
        let path = format!("/model/{}/converse-stream", encoded_segment(model));
        assert_eq!(
            path,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2/converse-stream"
        );
        let credentials = Credentials { session_token: Some("AQoDYXdzEPT//////////wEXAMPLE=="), ..CREDENTIALS };
        let scope = Scope { service: BEDROCK, ..SCOPE };
        let body_sha256 = body_sha256(b"{}");
        let headers = [("content-type", "application/json"), ("host", "bedrock-runtime.us-east-1.amazonaws.com")];
        let request = Unsigned { method: "POST", path: &path, query: "", headers: &headers, body_sha256: &body_sha256 };
        let signed = sign(credentials, scope, request);
        assert_eq!(
            signed.authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=cdb7ecdafa7749998f29343e4742927d771e065433060aaca113ac801a69788f"
        );
        assert_eq!(signed.x_amz_security_token.as_deref(), credentials.session_token);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{CREDENTIALS:?}"), r#"Credentials { access_key_id: "AKIDEXAMPLE", .. }"#);
    }
}
