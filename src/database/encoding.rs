//! The encoding of text in a database (<https://www.sqlite.org/fileformat2.html#enc>).

use std::borrow::Cow;

use rusqlite::{Connection, OptionalExtension};

/// How a database stores text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, as VPO's libraries have it.
    Utf8,
    /// UTF-16, the low byte first.
    Utf16Le,
    /// UTF-16, the high byte first.
    Utf16Be,
}

impl Encoding {
    /// The encoding of the main database of `connection`. One without a schema has none yet; it counts as UTF-8.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        // The schema is read first, and with it the encoding.
        let sql = "SELECT CAST('a' AS BLOB) FROM sqlite_schema LIMIT 1";
        let encoding = connection.query_row(sql, [], |row| {
            Ok(match row.get_ref(0)?.as_bytes() {
                Ok(b"a\0") => Encoding::Utf16Le,
                Ok(b"\0a") => Encoding::Utf16Be,
                _ => Encoding::Utf8,
            })
        });
        Ok(encoding.optional()?.unwrap_or(Encoding::Utf8))
    }

    /// Text of this encoding as UTF-8, without loss: half of a surrogate pair becomes the three bytes that it would
    /// have (WTF-8), and UTF-8 that is not valid stays as it is.
    pub fn utf8(self, text: &[u8]) -> Cow<'_, [u8]> {
        let unit = match self {
            Encoding::Utf8 => return Cow::Borrowed(text),
            Encoding::Utf16Le => u16::from_le_bytes,
            Encoding::Utf16Be => u16::from_be_bytes,
        };
        let units = text.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let mut out = Vec::with_capacity(text.len());
        for decoded in char::decode_utf16(units) {
            match decoded {
                Ok(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                Err(half) => {
                    let half = half.unpaired_surrogate();
                    // 1110xxxx 10xxxxxx 10xxxxxx
                    let bits = |shift: u32| 0x80 | ((half >> shift) & 0x3f) as u8;
                    out.extend_from_slice(&[0xe0 | (half >> 12) as u8, bits(6), bits(0)]);
                }
            }
        }
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_encoding_is_known_and_read() {
        for (name, encoding) in [
            ("UTF-8", Encoding::Utf8),
            ("UTF-16le", Encoding::Utf16Le),
            ("UTF-16be", Encoding::Utf16Be),
        ] {
            let db = Connection::open_in_memory().unwrap();
            db.execute_batch(&format!("PRAGMA encoding = '{name}'; CREATE TABLE t (x)"))
                .unwrap();
            assert_eq!(Encoding::of(&db).unwrap(), encoding);
            let text = "Amélie 愛 🎬\t";
            let stored: Vec<u8> = db
                .query_row("SELECT CAST(?1 AS BLOB)", [text], |row| row.get(0))
                .unwrap();
            assert_eq!(encoding.utf8(&stored), text.as_bytes());
        }
    }

    #[test]
    fn half_a_pair_is_not_lost() {
        let halves = [[0x00, 0xd8, 0x41, 0x00], [0x01, 0xd8, 0x41, 0x00]];
        let [a, b] = halves.map(|half| Encoding::Utf16Le.utf8(&half).into_owned());
        assert_eq!(a, b"\xed\xa0\x80A");
        assert_ne!(a, b);
    }
}
