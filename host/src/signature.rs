//! Ed25519 signatures of plugins: keys and signatures in the forms that tools write them in. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};

/// What comes before the 32 bytes of a key in PEM: the type `SubjectPublicKeyInfo` with the algorithm Ed25519.
const SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A key that plugins are signed with.
#[derive(Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 32 bytes as hexadecimal digits or base64, or from PEM (`openssl pkey -pubout`).
    ///
    /// # Errors
    /// What is wrong with it, as it is said of a setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "must be an ed25519 key: 32 bytes as base64 or hexadecimal digits, or PEM";
        let bytes = match text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----") {
            Some(rest) => from_pem(rest),
            None => decoded(text, 32),
        };
        let bytes: Option<[u8; 32]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let key = VerifyingKey::from_bytes(&bytes.ok_or_else(wrong)?).map_err(|_| wrong())?;
        match key.is_weak() {
            true => Err("is a weak key, which anybody can sign for: make another".to_owned()),
            false => Ok(PublicKey(key)),
        }
    }

    /// Whether `signature`, 64 bytes as they are or as text, is one of `content` with this key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self, content: &[u8], signature: &[u8]) -> Result<(), String> {
        let signature = match Signature::from_slice(signature) {
            Ok(signature) => signature,
            Err(_) => {
                let text = std::str::from_utf8(signature).ok();
                let bytes = text.and_then(|text| decoded(text, 64));
                let parsed = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
                parsed.ok_or("is no ed25519 signature: 64 bytes as they are, or as base64")?
            }
        };
        let verified = self.0.verify_strict(content, &signature);
        verified.map_err(|_| {
            "does not fit: another key (plugin_public_key), or the plugin was changed after it was signed"
                .to_owned()
        })
    }
}

fn from_pem(rest: &str) -> Option<Vec<u8>> {
    let body = rest.trim().strip_suffix("-----END PUBLIC KEY-----")?;
    // As a variable of the environment, its lines may have become spaces, or `\n` in two characters.
    let body = body.replace("\\n", "");
    let body: String = body.split_whitespace().collect();
    let der = STANDARD.decode(body).ok()?;
    der.strip_prefix(&SPKI).map(<[u8]>::to_vec)
}

/// `len` bytes from hexadecimal digits or base64, whose lengths differ.
fn decoded(text: &str, len: usize) -> Option<Vec<u8>> {
    let text = text.trim();
    let bytes = match text.len() == 2 * len && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => (0..len)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok())
            .collect(),
        false => STANDARD.decode(text).ok(),
    };
    bytes.filter(|bytes| bytes.len() == len)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer, SigningKey};

    use super::*;

    fn signing() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// All forms of a key.
    fn forms() -> Vec<String> {
        let key = signing().verifying_key().to_bytes();
        let der = STANDARD.encode([&SPKI[..], &key[..]].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n");
        vec![
            hex(&key),
            hex(&key).to_uppercase(),
            STANDARD.encode(key),
            format!(" {}\n", STANDARD.encode(key)),
            pem.replace('\n', " "),
            pem.replace('\n', "\\n").trim_end_matches("\\n").to_owned(),
            pem,
        ]
    }

    #[test]
    fn a_signature_counts_in_every_form() {
        let raw = signing().sign(b"plugin").to_bytes();
        let text = STANDARD.encode(raw);
        let signatures = [
            raw.to_vec(),
            text.clone().into_bytes(),
            format!("{text}\n").into_bytes(),
            hex(&raw).into_bytes(),
        ];
        for form in forms() {
            let key = PublicKey::parse(&form).expect(&form);
            for signature in &signatures {
                key.verify(b"plugin", signature).expect("it fits");
                let error = key.verify(b"plugin!", signature).expect_err("another text");
                assert!(error.starts_with("does not fit"), "{error}");
            }
        }
    }

    #[test]
    fn what_is_no_signature() {
        let key = PublicKey::parse(&forms()[0]).expect("a key");
        let raw = signing().sign(b"plugin").to_bytes();
        let other = SigningKey::from_bytes(&[8; 32]).sign(b"plugin").to_bytes();
        let long = [&raw[..], b"\n"].concat();
        let table: [(&[u8], &str); 5] = [
            (b"", "is no ed25519 signature"),
            (&raw[..63], "is no ed25519 signature"),
            (&long, "is no ed25519 signature"),
            (&other, "does not fit"),
            (&[0; 64], "does not fit"),
        ];
        for (signature, want) in table {
            let error = key.verify(b"plugin", signature).expect_err(want);
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn what_is_no_key() {
        let rsa = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----",
            STANDARD.encode([9; 44])
        );
        let weak = hex(&[&[1u8][..], &[0; 31]].concat());
        let table = [
            ("", "must be"),
            ("abc", "must be"),
            (&"0".repeat(63), "must be"),
            (&STANDARD.encode([1; 31]), "must be"),
            ("-----BEGIN PUBLIC KEY-----", "must be"),
            (&rsa, "must be"),
            (&weak, "is a weak key"),
        ];
        for (text, want) in table {
            let error = PublicKey::parse(text).expect_err(text);
            assert!(error.starts_with(want), "{text}: {error}");
        }
    }
}
