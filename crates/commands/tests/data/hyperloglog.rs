//! Sketches, byte for byte those of Redis: the expectations come from redis-server 7.0 with the same commands.

use crate::harness::Cluster;
use protocol::Value;

/// A sketch of a Redis server: its length, a hash of its bytes, and what it counts.
type Expected = (usize, u64, i64);

fn call(cluster: &mut Cluster, words: &[&str]) -> Value {
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    cluster.run(&words).0
}

/// PFADD of `element:N` for each of these numbers, `batch` to a command.
fn add(cluster: &mut Cluster, key: &str, numbers: std::ops::Range<u32>, batch: usize) {
    let elements: Vec<String> = numbers.map(|number| format!("element:{number}")).collect();
    for batch in elements.chunks(batch) {
        let words: Vec<&str> = ["PFADD", key].into_iter().chain(batch.iter().map(String::as_str)).collect();
        call(cluster, &words);
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[track_caller]
fn check(cluster: &mut Cluster, key: &str, (length, hashed, count): Expected) {
    let Value::Bulk(bytes) = call(cluster, &["GET", key]) else { panic!("{key} is a string") };
    assert_eq!((bytes.len(), hash(&bytes)), (length, hashed), "{key}, of {count}");
    assert_eq!(call(cluster, &["PFCOUNT", key]), Value::Integer(count));
}

#[test]
fn elements_make_the_sketches_of_redis() {
    let expected: &[(u32, Expected)] = &[
        (1, (21, 0x5db2_e01c_3370_7b73, 1)),
        (2, (24, 0xf025_e8e2_dad2_663a, 2)),
        (5, (33, 0xd891_3c96_e34d_952e, 5)),
        (10, (48, 0x77f1_dfb6_ec0d_7ad9, 10)),
        (50, (158, 0xf91d_1df8_ba55_eb4a, 50)),
        (100, (285, 0x67b3_25af_8799_02d0, 99)),
        (500, (1_050, 0x78db_6725_0c4f_c8c0, 502)),
        (1_000, (1_897, 0x0f28_a9d9_3d31_64c9, 997)),
        (1_200, (2_230, 0x8eea_1e8d_634b_d922, 1_198)),
        (1_400, (2_558, 0xa211_0d12_4cde_ab71, 1_397)),
        (1_600, (2_886, 0x22e4_803b_acfa_adbc, 1_604)),
        (2_000, (12_304, 0xcce1_8855_76fa_ad71, 2_004)),
        (5_000, (12_304, 0x71b5_9976_ab1a_a332, 5_005)),
        (10_000, (12_304, 0xf1d8_d3e8_afae_b877, 10_017)),
        (50_000, (12_304, 0x7f37_accd_f855_001f, 49_716)),
        (100_000, (12_304, 0x8c61_5f2c_0212_2d45, 100_039)),
    ];
    for (batch, elements_max) in [(1, 2_000), (100, 100_000)] {
        let (mut cluster, mut added) = (Cluster::new(1), 0);
        for (elements, sketch) in expected.iter().filter(|(elements, _)| *elements <= elements_max) {
            add(&mut cluster, "h", added..*elements, batch);
            added = *elements;
            check(&mut cluster, "h", *sketch);
        }
        assert_eq!(cluster.digest(), cluster.replayed_digest());
    }
}

#[test]
fn merging_makes_the_sketches_of_redis() {
    let mut cluster = Cluster::new(256);
    for (key, numbers) in [("{m}a", 0..300), ("{m}b", 200..600), ("{m}c", 5_000..6_000), ("{m}d", 0..20_000)]
    {
        add(&mut cluster, key, numbers, 50);
    }
    let steps: &[(&[&str], &str, Expected)] = &[
        (&["PFMERGE", "{m}m", "{m}a", "{m}b"], "{m}m", (1_229, 0xa05f_292e_1bb2_3851, 602)),
        (&["PFMERGE", "{m}a", "{m}b"], "{m}a", (1_229, 0xa05f_292e_1bb2_3851, 602)),
        (&["PFMERGE", "{m}m", "{m}c"], "{m}m", (2_899, 0x19f8_641f_956f_0532, 1_618)),
        (&["PFMERGE", "{m}m", "{m}d"], "{m}m", (12_304, 0x50d6_b0a9_6d37_3a57, 19_986)),
        (&["PFMERGE", "{m}c", "{m}m", "{m}a"], "{m}c", (12_304, 0x50d6_b0a9_6d37_3a57, 19_986)),
    ];
    for (words, key, sketch) in steps {
        assert_eq!(call(&mut cluster, words), Value::Simple(b"OK".to_vec()));
        check(&mut cluster, key, *sketch);
    }
    assert_eq!(call(&mut cluster, &["PFCOUNT", "{m}a", "{m}b"]), Value::Integer(602));
    assert_eq!(cluster.digest(), cluster.replayed_digest());
}

/// PFDEBUG GETREG shows the registers, and leaves the sketch dense.
#[test]
fn registers_are_shown() {
    let mut cluster = Cluster::new(1);
    call(&mut cluster, &["PFADD", "h", "a"]);
    let Value::Array(registers) = call(&mut cluster, &["PFDEBUG", "GETREG", "h"]) else {
        panic!("registers")
    };
    assert_eq!(registers.len(), 16_384);
    let seen: Vec<_> =
        registers.iter().enumerate().filter(|(_, value)| **value != Value::Integer(0)).collect();
    assert_eq!(seen, [(12_711, &Value::Integer(2))]);
    assert_eq!(call(&mut cluster, &["PFDEBUG", "ENCODING", "h"]), Value::Simple(b"dense".to_vec()));
    assert_eq!(cluster.digest(), cluster.replayed_digest());
}
