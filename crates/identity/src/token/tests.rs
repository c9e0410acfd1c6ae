//! Tokens that ring signs here, and every way in which one can be wrong.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use super::*;

const NOW_S: i64 = 1_795_000_000;
const ISSUER: &str = "https://id.acme.test";

/// A key of 2048 bits made for this test alone.
const RSA_PEM: &str = include_str!("rsa_of_the_tests.pem");

fn audiences() -> Vec<String> {
    vec!["tollgate".to_owned()]
}

fn good() -> Value {
    json!({"iss": ISSUER, "aud": ["other", "tollgate"], "exp": NOW_S + 60, "nbf": NOW_S - 60, "team": "kyc"})
}

fn encode(value: &Value) -> String {
    BASE64URL.encode(value.to_string())
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

struct Signer {
    algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

impl Signer {
    fn ed25519() -> Signer {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let x = BASE64URL.encode(pair.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": x});
        Signer { algorithm: "EdDSA", jwk, sign: Box::new(move |message| pair.sign(message).as_ref().to_vec()) }
    }

    fn p256() -> Signer {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (BASE64URL.encode(&point[1..33]), BASE64URL.encode(&point[33..]));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": y, "alg": "ES256"});
        let sign = move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        Signer { algorithm: "ES256", jwk, sign: Box::new(sign) }
    }

    fn rsa() -> Signer {
        let body: String = RSA_PEM.lines().filter(|line| !line.starts_with('-')).collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
        let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
        // Some issuers write the sign byte of DER too.
        let modulus = BASE64URL.encode([&[0][..], &public.n].concat());
        let jwk = json!({"kty": "RSA", "kid": "rsa", "n": modulus, "e": BASE64URL.encode(&public.e), "use": "sig"});
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Signer { algorithm: "RS256", jwk, sign: Box::new(sign) }
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(json!({"keys": [self.jwk]}).to_string().as_bytes()).unwrap()
    }

    fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.algorithm, "kid": self.jwk["kid"], "typ": "JWT"}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = BASE64URL.encode((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let audiences = audiences();
        let expected = Expected { issuer: ISSUER, audiences: &audiences, now_s: NOW_S, skew_s: 30 };
        Signed::parse(token)?.verify(&self.keys(), &expected)
    }
}

#[test]
fn a_token_of_each_algorithm_is_verified_and_its_claims_are_read() {
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa()] {
        let token = signer.token(&good());
        assert!(looks_signed(&token) && !looks_signed("tg-abc"));
        let claims = signer.verify(&token).unwrap();
        assert_eq!(claims.required("team").unwrap(), "kyc", "{}", signer.algorithm);
        assert_eq!(claims.expires_s(), NOW_S + 60);
    }
}

#[test]
fn one_changed_character_anywhere_is_noticed() {
    for signer in [Signer::ed25519(), Signer::p256(), Signer::rsa()] {
        let token = signer.token(&good());
        for at in (0..token.len()).step_by(7) {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(changed == token || signer.verify(&changed).is_err(), "{}: {at}", signer.algorithm);
        }
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_checked() {
    let signer = Signer::ed25519();
    let secret = |message: &[u8]| vec![u8::try_from(message.len() % 251).unwrap(); 32];
    for algorithm in ["none", "None", "HS256", "HS512", "RS512", "PS256", "ES384", ""] {
        let forged = Signer { algorithm: "", jwk: signer.jwk.clone(), sign: Box::new(secret) };
        let token = forged.token_with(&json!({"alg": algorithm, "kid": "ed"}), &good());
        let error = signer.verify(&token).unwrap_err();
        assert_eq!(error, TokenError::Algorithm { algorithm: algorithm.to_owned() });
        assert_eq!(error.code(), "token_algorithm_refused");
    }
    // The key is for EdDSA: a header that says otherwise finds no key.
    let token = signer.token_with(&json!({"alg": "ES256", "kid": "ed"}), &good());
    assert_eq!(signer.verify(&token).unwrap_err(), TokenError::UnknownKey);
    let token = signer.token_with(&json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": false}), &good());
    assert_eq!(signer.verify(&token).unwrap_err(), TokenError::Critical);
}

#[test]
fn a_key_that_is_not_there_is_told_apart_from_a_wrong_signature() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    assert_eq!(signer.verify(&other.token(&good())).unwrap_err(), TokenError::Signature);
    let unknown = signer.token_with(&json!({"alg": "ES256", "kid": "next year's"}), &good());
    assert_eq!(signer.verify(&unknown).unwrap_err(), TokenError::UnknownKey);
    let unnamed = signer.token_with(&json!({"alg": "ES256"}), &good());
    assert!(signer.verify(&unnamed).is_ok(), "there is only one it could be");
}

#[test]
fn what_a_token_says_of_itself_must_fit() {
    let signer = Signer::ed25519();
    let with = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        signer.verify(&signer.token(&claims))
    };
    let without = |name: &str| {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        signer.verify(&signer.token(&claims)).unwrap_err()
    };
    assert_eq!(with("iss", json!("https://evil.test")).unwrap_err().code(), "token_issuer_unknown");
    assert_eq!(without("iss").code(), "token_issuer_unknown");
    assert_eq!(with("aud", json!("other")).unwrap_err(), TokenError::Audience { expected: "tollgate".into() });
    assert_eq!(without("aud").code(), "token_audience_wrong");
    assert!(with("aud", json!("tollgate")).is_ok());
    // Thirty seconds of skew, either way.
    assert!(with("exp", json!(NOW_S - 29)).is_ok());
    assert_eq!(with("exp", json!(NOW_S - 30)).unwrap_err(), TokenError::Expired { ago_s: 30 });
    assert!(with("nbf", json!(NOW_S + 30)).is_ok());
    assert_eq!(with("nbf", json!(NOW_S + 31)).unwrap_err(), TokenError::NotYet { in_s: 31 });
    assert!(with("exp", json!(NOW_S as f64 + 0.5)).is_ok(), "a fraction is a number");
    for wrong in [json!("2099"), json!(null), json!([1]), json!(1e300)] {
        assert_eq!(with("exp", wrong.clone()).unwrap_err(), TokenError::Claim { claim: "exp".into() }, "{wrong}");
        assert_eq!(with("nbf", wrong.clone()).unwrap_err(), TokenError::Claim { claim: "nbf".into() }, "{wrong}");
    }
    assert_eq!(without("exp"), TokenError::Claim { claim: "exp".into() });
}

#[test]
fn a_claim_is_found_by_its_name_or_along_its_path() {
    let signer = Signer::ed25519();
    let mut claims = good();
    claims["org"] = json!({"unit": {"team": "red"}, "empty": ""});
    claims["https://acme.test/team"] = json!("blue");
    let claims = signer.verify(&signer.token(&claims)).unwrap();
    assert_eq!(claims.text("org.unit.team"), Some("red"));
    assert_eq!(claims.text("https://acme.test/team"), Some("blue"));
    assert_eq!((claims.text("org.empty"), claims.text("org.unit")), (None, None));
    assert!(claims.required("org.nobody").unwrap_err().to_string().contains("`org.nobody`"));
    assert_eq!(claims.texts("aud"), ["other", "tollgate"]);
}

#[test]
fn what_is_no_token_is_said_to_be_none() {
    let signer = Signer::ed25519();
    let long = format!("{}.{}", "a".repeat(MAX_BYTES), "b.c");
    for wrong in ["", "a.b", "a.b.c", "eyJhbGciOiJFZERTQSJ9.e30", "eyJhbGciOiJFZERTQSJ9.W10.AA", long.as_str()] {
        assert_eq!(signer.verify(wrong).unwrap_err(), TokenError::Malformed, "{wrong:.20}");
    }
}
