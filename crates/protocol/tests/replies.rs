//! Replies: what is written is what is read back, and noise never hurts the decoder.

use proptest::prelude::*;
use protocol::{
    FrameScanner, Reply, Value, Version, add_floats, decode, format_double, frame_len, parse_f64, parse_i64,
};

/// Operands of exact sums stay below this many units of their last decimal.
const UNITS_MAX: i64 = 1_000_000_000_000;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        any::<u8>().prop_filter("no line breaks", |byte| !matches!(byte, b'\r' | b'\n')),
        0..20,
    )
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

/// Any value that RESP3 can tell apart from every other one: no null array, no NaN.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::Simple),
        text().prop_map(Value::Error),
        any::<i64>().prop_map(Value::Integer),
        bytes().prop_map(Value::Bulk),
        Just(Value::Null),
        any::<f64>().prop_filter("equal to itself", |value| !value.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        any::<i128>().prop_map(|number| Value::BigNumber(number.to_string().into_bytes())),
        (any::<[u8; 3]>(), bytes()).prop_map(|(format, text)| Value::Verbatim { format, text }),
    ];
    leaf.prop_recursive(5, 64, 12, |inner| {
        let values = prop::collection::vec(inner.clone(), 0..12);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..12);
        prop_oneof![
            values.clone().prop_map(Value::Array),
            values.clone().prop_map(Value::Set),
            values.prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner)
                .prop_map(|(attributes, value)| Value::Attribute { attributes, value: Box::new(value) }),
        ]
    })
}

fn encode(value: &Value, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut Reply::new(&mut out, version));
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn resp3_round_trip(value in value(), cut in any::<prop::sample::Index>()) {
        let encoded = encode(&value, Version::Resp3);
        prop_assert_eq!(frame_len(&encoded), Ok(Some(encoded.len())));
        prop_assert_eq!(decode(&encoded), Ok(Some((value, encoded.len()))));

        let cut = cut.index(encoded.len());
        prop_assert_eq!(decode(&encoded[..cut]), Ok(None));
        let mut scanner = FrameScanner::new();
        prop_assert_eq!(scanner.scan(&encoded[..cut]), Ok(None));
        prop_assert_eq!(scanner.scan(&encoded), Ok(Some(encoded.len())));
    }

    #[test]
    fn resp2_is_one_frame_and_stable(value in value()) {
        let encoded = encode(&value, Version::Resp2);
        let decoded = decode(&encoded);
        prop_assert!(matches!(&decoded, Ok(Some((_, len))) if *len == encoded.len()), "{:?}", decoded);
        if let Ok(Some((decoded, _))) = decoded {
            prop_assert_eq!(encode(&decoded, Version::Resp2), encoded);
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(prop_oneof![
        prop::sample::select(b"*$%~>|=!+-:,#(_\r\n0123456789tf.e".to_vec()),
        any::<u8>(),
    ], 0..200)) {
        if let Ok(Some((_, len))) = decode(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(frame_len(&bytes), Ok(Some(len)));
        }
    }

    #[test]
    fn integers_have_one_text(value in any::<i64>(), noise in "[-+0-9 ]{0,21}") {
        prop_assert_eq!(parse_i64(value.to_string().as_bytes()), Some(value));
        if let Some(parsed) = parse_i64(noise.as_bytes()) {
            prop_assert_eq!(parsed.to_string(), noise);
        }
    }

    #[test]
    fn doubles_read_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let mut text = Vec::new();
        format_double(value, &mut text);
        if value.is_nan() {
            prop_assert_eq!(text, b"nan".to_vec());
        } else {
            prop_assert_eq!(parse_f64(&text), Some(value));
        }
    }

    #[test]
    fn sums_of_decimals_are_exact(left in -UNITS_MAX..UNITS_MAX, right in -UNITS_MAX..UNITS_MAX, decimals in 0u32..9) {
        let unit = 10i64.pow(decimals);
        let decimal = |units: i64| {
            let sign = if units < 0 { "-" } else { "" };
            let (whole, fraction) = (units.abs() / unit, units.abs() % unit);
            format!("{sign}{whole}.{fraction:0width$}", width = decimals as usize)
        };
        let mut out = Vec::new();
        prop_assert_eq!(add_floats(decimal(left).as_bytes(), decimal(right).as_bytes(), &mut out), Ok(()));
        let mut expect = decimal(left + right);
        // With no decimals the text ends in a point and one padding zero.
        expect.truncate(expect.trim_end_matches('0').trim_end_matches('.').len());
        let expect = if decimals == 0 { (left + right).to_string() } else { expect };
        prop_assert_eq!(String::from_utf8(out), Ok(if expect.is_empty() { "0".to_owned() } else { expect }));
    }
}
