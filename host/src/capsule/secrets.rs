//! Values that are left out for their names are left out wherever else they stand: in messages, in the context, in
//! what a server echoes. Pure.

use super::Capsule;

/// What is shorter stands in too many places that have nothing to do with it.
const SECRET_MIN: usize = 6;

/// Secret values, the longest first, and what stands for each.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// What `completed` knows and `capsule`, which is otherwise the same, hides.
    pub fn between(completed: &Capsule, capsule: &Capsule) -> Secrets {
        let mut secrets = Secrets::default();
        for (value, hidden) in completed.settings.values().zip(capsule.settings.values()) {
            secrets.add(value, hidden);
        }
        for ((_, value), (_, hidden)) in completed.env.iter().zip(&capsule.env) {
            secrets.add(value, hidden);
        }
        secrets
    }

    /// `stand_in` is there in the place of `value`.
    pub fn add(&mut self, value: &str, stand_in: &str) {
        if value.len() < SECRET_MIN || value == stand_in {
            return;
        }
        self.0.push((value.to_owned(), stand_in.to_owned()));
        self.0
            .sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    /// Puts the stand-ins into `text`; `true`: there was something to hide.
    pub fn hide(&self, text: &mut String) -> bool {
        let mut hidden = false;
        for (value, stand_in) in &self.0 {
            if text.contains(value) {
                *text = text.replace(value, stand_in);
                hidden = true;
            }
        }
        hidden
    }

    /// Puts asterisks into `bytes`, as many as the values are long.
    pub fn blot(&self, bytes: &mut [u8]) -> bool {
        let mut hidden = false;
        for (value, _) in &self.0 {
            let finder = memchr::memmem::Finder::new(value);
            let mut at = 0;
            while let Some(found) = finder.find(&bytes[at..]) {
                let end = at + found + value.len();
                bytes[at + found..end].fill(b'*');
                (at, hidden) = (end, true);
            }
        }
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_they_stand() {
        let mut secrets = Secrets::default();
        for (value, stand_in) in [
            ("swordfish", "***"),
            ("swordfish-2", "*****"),
            ("short", "***"),
            ("******", "******"),
        ] {
            secrets.add(value, stand_in);
        }
        // Text -> with stand-ins, blotted.
        let table = [
            ("", "", ""),
            ("a short story", "a short story", "a short story"),
            ("swordfish", "***", "*********"),
            (
                "no swordfish-2, swordfish!",
                "no *****, ***!",
                "no ***********, *********!",
            ),
            ("swordfisswordfish", "swordfis***", "swordfis*********"),
        ];
        for (text, hidden, blotted) in table {
            let mut with_stand_ins = text.to_owned();
            assert_eq!(secrets.hide(&mut with_stand_ins), text != hidden);
            assert_eq!(with_stand_ins, hidden);
            let mut bytes = text.as_bytes().to_vec();
            assert_eq!(secrets.blot(&mut bytes), text != blotted);
            assert_eq!(bytes, blotted.as_bytes());
        }
    }
}
