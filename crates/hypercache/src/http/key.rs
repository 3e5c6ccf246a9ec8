//! Keys in a path: percent-decoded, any bytes.

use std::borrow::Cow;

/// Decodes a key as RFC 3986, section 2.1 writes bytes.
///
/// # Errors
/// The offset of a percent sign that is not followed by two hex digits.
pub(crate) fn decode(text: &str) -> Result<Cow<'_, [u8]>, usize> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'%') {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut key = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digit =
                |offset: usize| bytes.get(at + offset).and_then(|&digit| (digit as char).to_digit(16));
            let (Some(high), Some(low)) = (digit(1), digit(2)) else { return Err(at) };
            key.push((high * 16 + low) as u8);
            at += 3;
        } else {
            key.push(byte);
            at += 1;
        }
    }
    Ok(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_and_no_guessing() {
        let check = |text, expected: Result<&[u8], usize>| {
            assert_eq!(decode(text).as_deref(), expected.as_ref().map(|key| *key), "{text}");
        };
        check("plain", Ok(b"plain"));
        check("a%20b%2Fc+d/e", Ok(b"a b/c+d/e"));
        check("%00%ff%FE", Ok(b"\x00\xff\xfe"));
        check("caf\u{e9}", Ok("caf\u{e9}".as_bytes()));
        check("100%", Err(3));
        check("ab%2", Err(2));
        check("%zz", Err(0));
        check("%+1", Err(0));
    }
}
