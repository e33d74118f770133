//! A small JSON: values, and the traits by which types become them.
//!
//! Numbers keep their text, so none of 64 bits is rounded on its way.

use std::collections::BTreeMap;
use std::fmt;

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

/// A JSON number, as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Number(String);

impl Number {
    /// The number, when it is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// The number, when it is an integer of 64 bits without sign.
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The nearest floating point number.
    pub fn as_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// The number as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Arrays and objects may be nested so deep: twice what the host takes.
const MAX_DEPTH: usize = 128;

impl Value {
    /// Reads a JSON document.
    pub fn parse(text: &str) -> Result<Value, JsonError> {
        let mut p = Parser { text, at: 0 };
        let v = p.value(MAX_DEPTH)?;
        p.blanks();
        match p.peek() {
            None => Ok(v),
            Some(_) => Err(p.error("more than one value")),
        }
    }

    /// The string, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The number, when it is an integer of 64 bits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(n) => n.as_i64(),
            _ => None,
        }
    }

    /// The number as floating point, when it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(n) => Some(n.as_f64()),
            _ => None,
        }
    }

    /// The truth value, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements, when it is an array; else none.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(a) => a,
            _ => &[],
        }
    }

    /// The member of an object; null when there is none.
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Value::Object(o) => o.get(name).unwrap_or(&Value::Null),
            _ => &Value::Null,
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        *self == Value::Null
    }

    /// What a type becomes.
    pub fn of<T: ToJson + ?Sized>(v: &T) -> Value {
        // What was written by this module can be read by it.
        Value::parse(&v.to_json()).unwrap_or(Value::Null)
    }

    /// Reads a type out of the value.
    pub fn to<T: FromJson>(&self) -> Result<T, JsonError> {
        T::from_json(self.clone())
    }
}

/// The value's JSON.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

macro_rules! value_from {
    ($($t:ty),*) => {$(
        impl From<$t> for Value {
            fn from(v: $t) -> Value {
                Value::of(&v)
            }
        }
    )*};
}

value_from!(bool, i32, i64, u32, u64, usize, f64, &str, Vec<String>);

impl From<String> for Value {
    fn from(v: String) -> Value {
        Value::String(v)
    }
}

impl From<Vec<Value>> for Value {
    fn from(v: Vec<Value>) -> Value {
        Value::Array(v)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(v: BTreeMap<String, Value>) -> Value {
        Value::Object(v)
    }
}

/// Makes an object of anything that has a JSON:
///
/// ```
/// let v = wasakari::object! { "title" => "c1 is down", "servers" => 3 };
/// assert_eq!(v.to_string(), r#"{"servers":3,"title":"c1 is down"}"#);
/// ```
#[macro_export]
macro_rules! object {
    ($($name:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut o = ::std::collections::BTreeMap::new();
        $(o.insert(::std::string::String::from($name), $crate::json::Value::of(&$value));)*
        $crate::json::Value::Object(o)
    }};
}

/// Why a document could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonError(String);

impl JsonError {
    /// Makes an error with this text, such as "want a date, got 5".
    pub fn new(text: impl Into<String>) -> JsonError {
        JsonError(text.into())
    }

    /// Names the member in which it happened.
    fn within(self, name: &str) -> JsonError {
        JsonError(format!("{}: {}", name, self.0))
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn error(&self, what: &str) -> JsonError {
        JsonError(format!("not JSON at byte {}: {}", self.at, what))
    }

    /// Skips blanks and takes this byte, when it is there.
    fn take(&mut self, b: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(b);
        if there {
            self.at += 1;
        }
        there
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.blanks();
        match self.peek() {
            Some(b'{') | Some(b'[') if depth == 0 => Err(self.error("nested too deep")),
            Some(b'{') => self.object(depth - 1),
            Some(b'[') => self.array(depth - 1),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, v) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
                    if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(v);
                    }
                }
                Err(self.error("want a value"))
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut o = BTreeMap::new();
        if self.take(b'}') {
            return Ok(Value::Object(o));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.error("want a name"));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return Err(self.error("want a colon"));
            }
            let v = self.value(depth)?;
            o.insert(name, v);
            if self.take(b'}') {
                return Ok(Value::Object(o));
            }
            if !self.take(b',') {
                return Err(self.error("want a comma or a brace"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut a = Vec::new();
        if self.take(b']') {
            return Ok(Value::Array(a));
        }
        loop {
            a.push(self.value(depth)?);
            if self.take(b']') {
                return Ok(Value::Array(a));
            }
            if !self.take(b',') {
                return Err(self.error("want a comma or a bracket"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.error("want a digit"));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Value::Number(Number(self.text[start..self.at].to_string())))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.at += 1;
        let mut s = String::new();
        loop {
            let start = self.at;
            while let Some(0x20..=0x21 | 0x23..=0x5b | 0x5d..=0xff) = self.peek() {
                self.at += 1;
            }
            // Only ASCII ends the run, so the borders are those of characters.
            s.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(s);
                }
                Some(b'\\') => {
                    self.at += 1;
                    s.push(self.escape()?);
                }
                _ => return Err(self.error("the string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let b = self.peek();
        self.at += 1;
        Ok(match b {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.hex()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = before;
                    }
                }
                // Half a pair is no character.
                char::from_u32(code).unwrap_or('\u{fffd}')
            }
            _ => return Err(self.error("no such escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| (b as char).to_digit(16));
            code = code << 4 | digit.ok_or_else(|| self.error("want four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

/// A type that becomes JSON.
pub trait ToJson {
    /// Appends the JSON.
    fn write_json(&self, out: &mut String);

    /// Whether a document leaves it out where it is optional.
    fn is_absent(&self) -> bool {
        false
    }

    /// The JSON.
    fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }
}

/// A type that is read out of JSON.
pub trait FromJson: Sized {
    /// Reads the value.
    fn from_json(v: Value) -> Result<Self, JsonError>;
}

fn write_string(s: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut start = 0;
    for (i, b) in s.bytes().enumerate() {
        if b >= 0x20 && b != b'"' && b != b'\\' {
            continue;
        }
        out.push_str(&s[start..i]);
        start = i + 1;
        out.push('\\');
        match b {
            b'"' | b'\\' => out.push(b as char),
            b'\n' => out.push('n'),
            b'\r' => out.push('r'),
            b'\t' => out.push('t'),
            _ => {
                out.push_str("u00");
                out.push(HEX[(b >> 4) as usize] as char);
                out.push(HEX[(b & 15) as usize] as char);
            }
        }
    }
    out.push_str(&s[start..]);
    out.push('"');
}

impl ToJson for str {
    fn write_json(&self, out: &mut String) {
        write_string(self, out);
    }
}

impl ToJson for String {
    fn write_json(&self, out: &mut String) {
        write_string(self, out);
    }
}

impl<T: ToJson + ?Sized> ToJson for &T {
    fn write_json(&self, out: &mut String) {
        (**self).write_json(out);
    }

    fn is_absent(&self) -> bool {
        (**self).is_absent()
    }
}

impl ToJson for bool {
    fn write_json(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl ToJson for $t {
            fn write_json(&self, out: &mut String) {
                out.push_str(&self.to_string());
            }
        }

        impl FromJson for $t {
            fn from_json(v: Value) -> Result<Self, JsonError> {
                match &v {
                    Value::Number(n) => n.0.parse().map_err(|_| unlike(concat!("an integer (", stringify!($t), ")"), &v)),
                    _ => Err(unlike("an integer", &v)),
                }
            }
        }
    )*};
}

integers!(i16, i32, i64, u8, u16, u32, u64, usize);

/// Numbers that JSON does not have are null.
impl ToJson for f64 {
    fn write_json(&self, out: &mut String) {
        if !self.is_finite() {
            out.push_str("null");
        } else if *self != 0.0 && (self.abs() < 1e-7 || self.abs() >= 1e21) {
            out.push_str(&format!("{:e}", self));
        } else {
            out.push_str(&self.to_string());
        }
    }
}

impl<T: ToJson> ToJson for [T] {
    fn write_json(&self, out: &mut String) {
        let mut before = '[';
        for v in self {
            out.push(before);
            v.write_json(out);
            before = ',';
        }
        out.push_str(if before == '[' { "[]" } else { "]" });
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn write_json(&self, out: &mut String) {
        self[..].write_json(out);
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

/// None is null.
impl<T: ToJson> ToJson for Option<T> {
    fn write_json(&self, out: &mut String) {
        match self {
            Some(v) => v.write_json(out),
            None => out.push_str("null"),
        }
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: ToJson> ToJson for BTreeMap<String, T> {
    fn write_json(&self, out: &mut String) {
        let mut w = Writer::new(out);
        for (name, v) in self {
            w.field(name, v);
        }
        w.end();
    }

    fn is_absent(&self) -> bool {
        self.is_empty()
    }
}

impl ToJson for Value {
    fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(b) => b.write_json(out),
            Value::Number(n) => out.push_str(&n.0),
            Value::String(s) => s.write_json(out),
            Value::Array(a) => a.write_json(out),
            Value::Object(o) => o.write_json(out),
        }
    }
}

/// The text of a value that does not fit, in short.
fn unlike(want: &str, got: &Value) -> JsonError {
    let got = match got {
        Value::Array(_) => "an array".to_string(),
        Value::Object(_) => "an object".to_string(),
        Value::String(_) => "a string".to_string(),
        v => v.to_json(),
    };
    JsonError(format!("want {}, got {}", want, got))
}

impl FromJson for Value {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        Ok(v)
    }
}

impl FromJson for String {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        match v {
            Value::String(s) => Ok(s),
            v => Err(unlike("a string", &v)),
        }
    }
}

impl FromJson for bool {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        v.as_bool().ok_or_else(|| unlike("true or false", &v))
    }
}

impl FromJson for f64 {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        v.as_f64().ok_or_else(|| unlike("a number", &v))
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        match v {
            Value::Null => Ok(None),
            v => T::from_json(v).map(Some),
        }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        match v {
            Value::Array(a) => a.into_iter().map(T::from_json).collect(),
            v => Err(unlike("an array", &v)),
        }
    }
}

impl<T: FromJson> FromJson for BTreeMap<String, T> {
    fn from_json(v: Value) -> Result<Self, JsonError> {
        match v {
            Value::Object(o) => o
                .into_iter()
                .map(|(name, v)| match T::from_json(v) {
                    Ok(v) => Ok((name, v)),
                    Err(e) => Err(e.within(&name)),
                })
                .collect(),
            v => Err(unlike("an object", &v)),
        }
    }
}

/// Writes an object, member by member.
pub struct Writer<'a> {
    out: &'a mut String,
    before: char,
}

impl Writer<'_> {
    /// Begins an object.
    pub fn new(out: &mut String) -> Writer<'_> {
        Writer { out, before: '{' }
    }

    /// Writes a member.
    pub fn field<T: ToJson + ?Sized>(&mut self, name: &str, v: &T) {
        self.out.push(self.before);
        self.before = ',';
        write_string(name, self.out);
        self.out.push(':');
        v.write_json(self.out);
    }

    /// Writes a member unless it is absent: None, or empty.
    pub fn optional<T: ToJson + ?Sized>(&mut self, name: &str, v: &T) {
        if !v.is_absent() {
            self.field(name, v);
        }
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push_str(if self.before == '{' { "{}" } else { "}" });
    }
}

/// Reads an object, member by member.
pub struct Reader(BTreeMap<String, Value>);

impl Reader {
    /// Begins with an object.
    pub fn new(v: Value) -> Result<Reader, JsonError> {
        match v {
            Value::Object(o) => Ok(Reader(o)),
            v => Err(unlike("an object", &v)),
        }
    }

    /// Takes a member out; the default when it is missing or null.
    pub fn take<T: FromJson + Default>(&mut self, name: &str) -> Result<T, JsonError> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(v) => T::from_json(v).map_err(|e| e.within(name)),
        }
    }
}
