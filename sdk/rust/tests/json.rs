//! The JSON of the SDK.

use std::collections::BTreeMap;

use wasakari::json::{FromJson, ToJson, Value};
use wasakari::{object, Server};

#[test]
fn values_come_back() {
    for text in [
        "null",
        "true",
        "[]",
        "{}",
        r#"[1,-2.5,1e300,9223372036854775807,18446744073709551615,""]"#,
        r#"{"a":{"b":[null,false]},"ключ":"🚀"}"#,
        r#""\"\\\n\r\t\u0000\u001f/""#,
    ] {
        assert_eq!(Value::parse(text).unwrap().to_json(), text);
    }
    let blanks = Value::parse(" { \"a\" : [ 1 , 2 ] ,\r\n\t\"b\":\"\\ud83d\\ude80\\/\\b\\f\\u00fC\" } ").unwrap();
    assert_eq!(blanks.to_json(), "{\"a\":[1,2],\"b\":\"🚀/\\u0008\\u000cü\"}");
    assert_eq!(Value::parse(r#""\ud83d \ude80 \ud83dA""#).unwrap().as_str(), Some("\u{fffd} \u{fffd} \u{fffd}A"));
    assert_eq!(Value::parse(r#"{"a":1,"a":2}"#).unwrap().to_json(), r#"{"a":2}"#);
}

#[test]
fn what_is_not_json() {
    for text in [
        "",
        " ",
        "nul",
        "[1",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "1 2",
        "[]]",
        "'a'",
        "NaN",
    ] {
        let e = Value::parse(text).unwrap_err().to_string();
        assert!(e.starts_with("not JSON at byte "), "{}: {}", text, e);
    }
    let deep = |n| "[".repeat(n) + &"]".repeat(n);
    assert!(Value::parse(&deep(128)).is_ok());
    assert!(Value::parse(&deep(129)).unwrap_err().to_string().ends_with("nested too deep"));
    assert!(Value::parse(&deep(1_000_000)).is_err());
}

#[test]
fn types() {
    assert_eq!(vec![Some(1i64), None].to_json(), "[1,null]");
    assert_eq!([0.1, -2.5, 1e300, 5e-324, 0.0, 100.0, f64::NAN].to_json(), "[0.1,-2.5,1e300,5e-324,0,100,null]");
    assert_eq!(i64::MIN.to_json(), "-9223372036854775808");
    let v = Value::parse("[9223372036854775807, -1, 1.5, \"x\"]").unwrap();
    assert_eq!(v.items()[0].as_i64(), Some(i64::MAX));
    assert_eq!(v.items()[1].to::<u64>().unwrap_err().to_string(), "want an integer (u64), got -1");
    assert_eq!(v.items()[2].to::<f64>().unwrap(), 1.5);
    assert_eq!(v.items()[2].to::<i64>().unwrap_err().to_string(), "want an integer (i64), got 1.5");
    assert_eq!(v.to::<Vec<i64>>().unwrap_err().to_string(), "want an integer (i64), got 1.5");
    let m = BTreeMap::<String, Vec<u8>>::from_json(object! { "a" => vec![1, 2] }).unwrap();
    assert_eq!(m["a"], [1, 2]);
    assert_eq!(BTreeMap::<String, bool>::from_json(object! { "a" => 1 }).unwrap_err().to_string(), "a: want true or false, got 1");
    assert!(object! {}.get("a").get("b").is_null());
}

#[test]
fn documents() {
    let text = r#"{"id":"s","new":[{}],"OS-EXT-STS:task_state":null,"OS-EXT-STS:power_state":4,"tags":["a"],"fault":{"message":"m"}}"#;
    let s: Server = Value::parse(text).unwrap().to().unwrap();
    assert_eq!((s.id.as_str(), s.power_state, s.task_state.as_deref()), ("s", Some(4), None));
    assert_eq!(s.to_json(), r#"{"id":"s","tags":["a"],"fault":{"message":"m"},"OS-EXT-STS:power_state":4}"#);
    let e = Value::parse(r#"{"fault":{"code":"x"}}"#).unwrap().to::<Server>().unwrap_err();
    assert_eq!(e.to_string(), "fault: code: want an integer, got a string");
}

/// Whatever a text is, reading it ends with a value that comes back, or with an
/// error.
#[test]
fn any_text() {
    let seeds = [
        r#"{"a":[1,-2.5e10,null,true,false,"x\n\u00fc\ud83d\ude80"],"b":{"c":{}}}"#,
        "[[[[\"🚀ü\",\"\\\\\\\"\"]]],0.1,1E+2]",
        "\"\\ud83d\\u0041\"",
    ];
    const REPLACED: &[u8] = b"{}[]\",:\\u0e-.\xf0\x80t";
    const INSERTED: &[u8] = b"\\\"{[09 \xc3";
    // A fixed sequence: the same texts each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    for _ in 0..20_000 {
        let mut b = seeds[random(seeds.len())].as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(b.len());
            match random(3) {
                0 => b[at] = REPLACED[random(REPLACED.len())],
                1 => b.truncate(at.max(1)),
                _ => b.insert(at, INSERTED[random(INSERTED.len())]),
            }
        }
        let text = String::from_utf8_lossy(&b);
        if let Ok(v) = Value::parse(&text) {
            assert_eq!(Value::parse(&v.to_json()), Ok(v), "{}", text);
        }
    }
}
