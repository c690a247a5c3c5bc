//! Values of two databases, which may store text differently.

use std::borrow::Cow;
use std::cmp::Ordering;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::database::Encoding;

/// A value as a database stores it: its storage class and its bytes.
#[derive(Clone, Copy)]
pub struct Value<'r> {
    /// As SQLite gives it; text is that of `encoding`.
    pub raw: ValueRef<'r>,
    encoding: Encoding,
}

impl<'r> Value<'r> {
    /// The SQL of `expression`, for [`Value::get`].
    ///
    /// SQLite converts UTF-16 when asked for text, and has no way to say that the memory for it is missing, so rusqlite
    /// panics. Such text comes as a blob, with a column before it that says so.
    pub fn sql(expression: &str, encoding: Encoding) -> String {
        match encoding {
            Encoding::Utf8 => expression.into(),
            _ => format!(
                "typeof({expression}) = 'text', \
                 CASE typeof({expression}) WHEN 'text' THEN CAST({expression} AS BLOB) ELSE {expression} END"
            ),
        }
    }

    /// Value number `i` of a row whose columns are those of [`Value::sql`].
    pub fn get(row: &'r Row<'_>, i: usize, encoding: Encoding) -> rusqlite::Result<Self> {
        let raw = match encoding {
            Encoding::Utf8 => row.get_ref(i)?,
            _ => match (row.get_ref(2 * i)?, row.get_ref(2 * i + 1)?) {
                (ValueRef::Integer(1), ValueRef::Blob(text)) => ValueRef::Text(text),
                (_, other) => other,
            },
        };
        Ok(Value { raw, encoding })
    }

    /// True if both are of one storage class and the same to the bit; text, if it is the same text.
    pub fn is(&self, other: &Value) -> bool {
        match (self.raw, other.raw) {
            (ValueRef::Null, ValueRef::Null) => true,
            (ValueRef::Integer(a), ValueRef::Integer(b)) => a == b,
            (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
            (ValueRef::Text(a), ValueRef::Text(b)) if self.encoding == other.encoding => a == b,
            (ValueRef::Text(a), ValueRef::Text(b)) => self.encoding.utf8(a) == other.encoding.utf8(b),
            (ValueRef::Blob(a), ValueRef::Blob(b)) => a == b,
            _ => false,
        }
    }

    /// The place of its class in SQLite's order (<https://www.sqlite.org/datatype3.html#sort_order>).
    pub fn rank(&self) -> u8 {
        match self.raw {
            ValueRef::Null => 0,
            ValueRef::Integer(_) | ValueRef::Real(_) => 1,
            ValueRef::Text(_) => 2,
            ValueRef::Blob(_) => 3,
        }
    }

    /// The bytes of a text, in UTF-8, or of a blob; none for other values.
    pub fn bytes(&self) -> Cow<'r, [u8]> {
        match self.raw {
            ValueRef::Text(text) => self.encoding.utf8(text),
            ValueRef::Blob(blob) => Cow::Borrowed(blob),
            _ => Cow::Borrowed(&[]),
        }
    }

    /// SQLite's order, with text in the order of its UTF-8.
    pub fn order(&self, other: &Value) -> Ordering {
        self.rank()
            .cmp(&other.rank())
            .then_with(|| match (self.raw, other.raw) {
                (ValueRef::Integer(a), ValueRef::Integer(b)) => a.cmp(&b),
                (ValueRef::Real(a), ValueRef::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                (ValueRef::Integer(a), ValueRef::Real(b)) => integer_and_real(a, b),
                (ValueRef::Real(a), ValueRef::Integer(b)) => integer_and_real(b, a).reverse(),
                _ => self.bytes().cmp(&other.bytes()),
            })
    }

    /// As a person sees it: text and blobs are their bytes, numbers their digits, NULL is nothing.
    pub fn shown(&self) -> Cow<'r, [u8]> {
        match self.raw {
            ValueRef::Integer(number) => Cow::Owned(number.to_string().into()),
            ValueRef::Real(number) => Cow::Owned(format!("{number:?}").into()),
            _ => self.bytes(),
        }
    }
}

/// The order of two numbers, without the loss of digits that a conversion to the other's class has.
fn integer_and_real(integer: i64, real: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0; // 2⁶³
    if real >= LIMIT {
        return Ordering::Less;
    }
    if real < -LIMIT {
        return Ordering::Greater;
    }
    // In range, so only its fraction is cut.
    let whole = real.trunc();
    let by_fraction = || whole.partial_cmp(&real).unwrap_or(Ordering::Equal);
    integer.cmp(&(whole as i64)).then_with(by_fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order is the one in which SQLite hands rows out: the merge relies on it.
    #[test]
    fn the_order_is_that_of_sqlite() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE t (x); INSERT INTO t VALUES (NULL), (-1), (-0.5), (0.5), (0), (9223372036854775807),
             (9223372036854775000.0), (9.3e18), (-9.3e18), (-9223372036854775808), (9007199254740993), (9007199254740992.0),
             (''), ('a'), ('B'), ('é'), ('愛'), ('🎬'), ('a' || char(9)), (CAST(x'ff41' AS TEXT)), (x''), (x'61'), (x'ff');",
        )
        .unwrap();
        let mut statement = db
            .prepare("SELECT a.x, b.x, a.x < b.x, a.x = b.x FROM t a, t b")
            .unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut pairs = 0;
        while let Some(row) = rows.next().unwrap() {
            let value = |i| Value::get(row, i, Encoding::Utf8).unwrap();
            let (a, b) = (value(0), value(1));
            let expected = match (
                row.get::<_, Option<bool>>(2).unwrap(),
                row.get::<_, Option<bool>>(3).unwrap(),
            ) {
                (Some(true), _) => Ordering::Less,
                (_, Some(true)) => Ordering::Equal,
                (Some(false), _) => Ordering::Greater,
                // NULL comes first.
                _ => a.rank().min(1).cmp(&b.rank().min(1)),
            };
            assert_eq!(a.order(&b), expected, "{:?} {:?}", a.raw, b.raw);
            assert_eq!(a.is(&b), a.raw == b.raw, "{:?} {:?}", a.raw, b.raw);
            pairs += 1;
        }
        assert_eq!(pairs, 23 * 23);
    }
}
