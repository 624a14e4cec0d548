//! Reads a decimal integer from bytes: eight digits at a time, and with hardly a branch, because
//! lengths and signs that vary cost more in branches guessed wrong than in arithmetic.

/// Eight digits `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The integer that `line` is, with ASCII white space around it and a sign allowed.
///
/// `text` ends where `line` does. What stands before the line means nothing, but lets eight bytes be
/// read at once.
#[inline]
pub(crate) fn parse(line: &[u8], text: &[u8]) -> Option<i64> {
    debug_assert!(text.ends_with(line));
    let negative = line.first() == Some(&b'-');
    let digits = line.len() - usize::from(negative);
    if let (1..=8, Some(low)) = (digits, text.last_chunk())
        && let Some(number) = eight_digits(last(u64::from_le_bytes(*low), digits))
    {
        let sign = -i64::from(negative); // 0, or all bits set
        return Some((number as i64 ^ sign) - sign);
    }
    long(line)
}

/// What is not just up to eight digits. It stays out of the loop over lines, so that the rest
/// of the loop is small enough to be put into one function.
#[inline(never)]
fn long(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    if let 9..=16 = digits.len()
        && let (Some(high), Some(low)) = (digits.first_chunk(), digits.last_chunk())
        && let Some(low) = eight_digits(u64::from_le_bytes(*low))
        && let Some(number) = {
            // The digits before the last eight are the highest bytes, once the others are shifted out.
            let others = 8 * (16 - digits.len() as u32);
            let high = u64::from_le_bytes(*high);
            eight_digits(if others == 0 {
                high
            } else {
                last(high << others, digits.len() - 8)
            })
        }
    {
        let magnitude = (number * 100_000_000 + low) as i64; // sixteen digits fit
        return Some(if digits.len() == line.len() {
            magnitude
        } else {
            -magnitude
        });
    }
    std::str::from_utf8(line.trim_ascii()).ok()?.parse().ok()
}

/// The last one to eight bytes of `word`, the highest ones, with digits `0` before them.
#[inline]
fn last(word: u64, digits: usize) -> u64 {
    let others = 64 - 8 * digits as u32;
    let those = u64::MAX << others;
    word & those | ZEROS & !those
}

/// The number that eight digits, the first in the lowest byte, are, if they are digits.
#[inline]
fn eight_digits(word: u64) -> Option<u64> {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Set in the highest bit of a byte that is above `9`, and of one that is below `0`.
    let above = word.wrapping_add(0x4646_4646_4646_4646);
    let below = word.wrapping_sub(ZEROS);
    if (above | below | word) & HIGH != 0 {
        return None;
    }
    // Digits to pairs, pairs to fours, fours to the number: each step adds neighbours.
    let pairs = below.wrapping_mul(10).wrapping_add(below >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the standard library makes of it, whatever stands before it.
    fn reference(bytes: &[u8]) -> Option<i64> {
        std::str::from_utf8(bytes).ok()?.trim_ascii().parse().ok()
    }

    fn check(bytes: &[u8]) {
        for before in ["", "7", "-77", "7777777", "99999999", "-7777777777777777"] {
            let text = [before.as_bytes(), bytes].concat();
            let shown = text.escape_ascii();
            assert_eq!(parse(bytes, &text), reference(bytes), "{shown}");
        }
    }

    #[test]
    fn integers_are_those_of_the_standard_library() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "+0",
            "-",
            "+",
            "+-1",
            "--1",
            "1-",
            "1 2",
            " 1",
            "1 ",
            "\t-12\r",
            "00000000000000000000000000000001",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "1_000",
            "1.0",
            "99999999999999999999999999999999999999",
            "asd",
            "0x10",
            "٣",
            "1234567\0",
            "é",
        ] {
            check(text.as_bytes());
        }
    }

    #[test]
    fn digits_of_every_count_are_read() {
        let digits = b"98765432109876543210";
        for from in 0..digits.len() {
            for to in from..=digits.len() {
                check(&digits[from..to]);
                check(&[b"-", &digits[from..to]].concat());
            }
        }
    }

    #[test]
    fn one_byte_that_is_no_digit_is_found_at_every_place() {
        for len in 1..=20 {
            for at in 0..len {
                for byte in 0..=255 {
                    let mut digits = vec![b'7'; len];
                    digits[at] = byte;
                    check(&digits);
                }
            }
        }
    }
}
