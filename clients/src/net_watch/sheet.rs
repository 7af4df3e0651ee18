//! A line that is being written: text as `ip monitor` prints it, or a JSON object as `ip -j` prints it.

use protocol::resp::text::json_string;

/// How changes are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As `ip monitor` prints them.
    Text,
    /// An object for each, in the fields of `ip -j`.
    Json,
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(i64),
    True,
    Null,
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<u8> for Value<'_> {
    fn from(number: u8) -> Self {
        Self::Number(i64::from(number))
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Number(i64::from(number))
    }
}

/// What is written of one change. Both forms have the same fields in the same order, with few exceptions.
pub(super) struct Sheet {
    form: Form,
    bytes: Vec<u8>,
}

impl Sheet {
    pub(super) fn new(form: Form) -> Self {
        let bytes = if form == Form::Json { b"{".to_vec() } else { Vec::new() };
        Self { form, bytes }
    }

    /// Writes a field: in text, `before`, the value and `after`.
    pub(super) fn field<'a>(
        &mut self,
        key: &str,
        value: impl Into<Value<'a>>,
        before: &str,
        after: &str,
    ) {
        let value = value.into();
        if self.form == Form::Json {
            return self.json(key, value);
        }
        self.text(before);
        match value {
            Value::Text(text) => self.text(text),
            Value::Number(number) => self.text(&number.to_string()),
            Value::True | Value::Null => {}
        }
        self.text(after);
    }

    /// Writes a field that is a word of its own in text, and true in JSON.
    pub(super) fn word(&mut self, key: &str, word: &str) {
        self.field(key, Value::True, word, "");
    }

    /// Writes what text alone has.
    pub(super) fn text(&mut self, text: &str) {
        if self.form == Form::Text {
            self.bytes.extend_from_slice(text.as_bytes());
        }
    }

    /// Writes a field that JSON alone has.
    pub(super) fn json<'a>(&mut self, key: &str, value: impl Into<Value<'a>>) {
        if self.form == Form::Text {
            return;
        }
        self.key(key);
        match value.into() {
            Value::Text(text) => json_string(text.as_bytes(), &mut self.bytes),
            Value::Number(number) => self.bytes.extend_from_slice(number.to_string().as_bytes()),
            Value::True => self.bytes.extend_from_slice(b"true"),
            Value::Null => self.bytes.extend_from_slice(b"null"),
        }
    }

    /// Writes names: a list in JSON, and with `before` and `after` each in text.
    pub(super) fn names<'a>(
        &mut self,
        key: &str,
        names: impl Iterator<Item = &'a str>,
        before: &str,
        after: &str,
    ) {
        if self.form == Form::Json {
            return self.json_names(key, names);
        }
        names.for_each(|name| self.field(key, name, before, after));
    }

    /// Writes names that JSON alone has.
    pub(super) fn json_names<'a>(&mut self, key: &str, names: impl Iterator<Item = &'a str>) {
        if self.form == Form::Text {
            return;
        }
        self.key(key);
        self.bytes.push(b'[');
        for name in names {
            self.separate();
            json_string(name.as_bytes(), &mut self.bytes);
        }
        self.bytes.push(b']');
    }

    /// Writes a list of objects: in text, what `write` writes of each.
    pub(super) fn objects<T>(
        &mut self,
        key: &str,
        all: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        if self.form == Form::Json {
            self.key(key);
            self.bytes.push(b'[');
        }
        for one in all {
            if self.form == Form::Json {
                self.separate();
                self.bytes.push(b'{');
            }
            write(self, one);
            if self.form == Form::Json {
                self.bytes.push(b'}');
            }
        }
        if self.form == Form::Json {
            self.bytes.push(b']');
        }
    }

    /// Writes a field that is an object.
    pub(super) fn object(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        if self.form == Form::Text {
            return write(self);
        }
        self.key(key);
        self.bytes.push(b'{');
        write(self);
        self.bytes.push(b'}');
    }

    /// Returns the line with its end.
    pub(super) fn end(mut self) -> Vec<u8> {
        if self.form == Form::Json {
            self.bytes.push(b'}');
        }
        self.bytes.push(b'\n');
        self.bytes
    }

    fn key(&mut self, key: &str) {
        self.separate();
        json_string(key.as_bytes(), &mut self.bytes);
        self.bytes.push(b':');
    }

    /// Writes a comma, unless this is the first of its list or object.
    fn separate(&mut self) {
        if !matches!(self.bytes.last(), Some(b'{' | b'[')) {
            self.bytes.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_fields() {
        let write = |form| {
            let mut sheet = Sheet::new(form);
            sheet.word("deleted", "Deleted ");
            sheet.field("ifindex", 3_u32, "", ": ");
            sheet.names("flags", ["UP", "ECHO"].into_iter(), "<", ">");
            sheet.objects("hops", [1_u32, 2].into_iter(), |sheet, it| {
                sheet.field("weight", it, " weight ", "");
            });
            sheet.object("via", |sheet| sheet.field("host", "a\"b", " via ", ""));
            sheet.text("!");
            sheet.json("txqlen", 9_u32);
            String::from_utf8(sheet.end()).expect("it is text")
        };
        let text = "Deleted 3: <UP><ECHO> weight 1 weight 2 via a\"b!\n";
        assert_eq!(write(Form::Text), text);
        let json = "{\"deleted\":true,\"ifindex\":3,\"flags\":[\"UP\",\"ECHO\"],\
            \"hops\":[{\"weight\":1},{\"weight\":2}],\"via\":{\"host\":\"a\\\"b\"},\"txqlen\":9}\n";
        assert_eq!(write(Form::Json), json);
    }
}
