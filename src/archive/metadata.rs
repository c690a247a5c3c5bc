//! `backup_metadata.json`: what a backup says about itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Layout;
use super::block::Level;
use crate::database::Source;
use crate::time::Time;

/// The longest string that metadata may have, in bytes.
const MAX_STRING: usize = 4096;
/// How deeply values may be nested. Most JSON readers give up before 1000; Python's, which VPO uses, is one of them.
const MAX_DEPTH: usize = 128;

/// The metadata of one backup. VPO needs the first six fields with these types, and ignores the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The program that made it.
    pub vpo_version: String,
    /// `schema_version` in the database's own `_meta` table.
    pub schema_version: u64,
    /// When, in RFC 3339.
    pub created_at: String,
    /// Length of `library.db` in the archive. In VPO's own backups: of the main file before the backup.
    pub database_size_bytes: u64,
    /// Rows of `files`.
    pub file_count: u64,
    /// Sum of `files.size_bytes`.
    pub total_library_size_bytes: u64,
    /// `gzip`.
    pub compression: String,
    /// Digest of `library.db`, in lower-case hex; not in VPO's own backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_sha256: Option<String>,
    /// Bytes in a page of the database; not in VPO's own backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u32>,
    /// A safety backup: the library as it was before a restore.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
    /// Level of all blocks, 0 to 12; `None` if blocks of several levels are mixed, or if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression_level: Option<u8>,
    /// Name of the machine on which the library was read, if known.
    pub source_host: Option<String>,
    /// Absolute path of the library that was read, if known.
    pub source_path: Option<String>,
}

impl Metadata {
    /// When the backup was made, to the second.
    pub fn time(&self) -> Option<Time> {
        self.created_at.parse().ok()
    }

    /// The library that was backed up, if host and path are known.
    pub fn source(&self) -> Option<Source> {
        Some(Source {
            host: self.source_host.clone()?,
            path: self.source_path.clone()?,
        })
    }

    /// Reads and checks the metadata of an archive of the given layout.
    ///
    /// # Errors
    /// A phrase that names the field.
    pub fn parse(json: &[u8], layout: Layout) -> Result<Self, String> {
        let text = std::str::from_utf8(json).map_err(|_| "it is not UTF-8")?;
        if depth(json) > MAX_DEPTH {
            return Err(format!("its values are nested more than {MAX_DEPTH} deep"));
        }
        let mut fields: Object = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let metadata = Metadata {
            vpo_version: fields.string("vpo_version")?,
            schema_version: fields.positive("schema_version")?,
            created_at: fields.string("created_at")?,
            database_size_bytes: fields.positive("database_size_bytes")?,
            file_count: fields.integer("file_count")?,
            total_library_size_bytes: fields.integer("total_library_size_bytes")?,
            compression: fields.string("compression")?,
            database_sha256: fields.optional("database_sha256", Object::string)?,
            page_size: fields.optional("page_size", Object::page_size)?,
            replaced: fields.ours("replaced", layout, Object::boolean)?.unwrap_or(false),
            compression_level: fields.ours("compression_level", layout, Object::level)?,
            source_host: fields.ours("source_host", layout, Object::nullable)?.flatten(),
            source_path: fields.ours("source_path", layout, Object::nullable)?.flatten(),
        };
        let time = metadata.created_at.parse::<Time>();
        let exact = time.is_ok_and(|t| layout == Layout::Plain || t.to_string() == metadata.created_at);
        if !exact {
            return Err("'created_at' is not an RFC 3339 time of the form it must have".into());
        }
        if metadata.compression != "gzip" {
            return Err("'compression' is not gzip".into());
        }
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if let Some(digest) = &metadata.database_sha256
            && !(digest.len() == 64 && digest.bytes().all(hex))
        {
            return Err("'database_sha256' is not a SHA-256 digest in lower-case hex".into());
        }
        // An archive of blocks is this project's, which always writes both.
        if layout == Layout::Blocks && (metadata.database_sha256.is_none() || metadata.page_size.is_none()) {
            return Err("'database_sha256' or 'page_size' is missing".into());
        }
        Ok(metadata)
    }
}

/// How deeply brackets are nested, except in strings. Text that is not JSON gets some number or other.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = string,
            b'"' => string = !string,
            b'[' | b'{' if !string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A JSON object whose keys are separated but whose values are not read yet. `serde` by itself would let the last of
/// several equal keys win.
struct Object(BTreeMap<String, Box<RawValue>>);

impl Object {
    fn field<'a, T: Deserialize<'a>>(&'a self, key: &str, what: &str) -> Result<T, String> {
        let raw = self.0.get(key).ok_or_else(|| format!("'{key}' is missing"))?;
        serde_json::from_str(raw.get()).map_err(|_| format!("'{key}' is not a {what}"))
    }

    fn string(&mut self, key: &str) -> Result<String, String> {
        let text: String = self.field(key, "string")?;
        if text.len() > MAX_STRING {
            return Err(format!("'{key}' is longer than {MAX_STRING} bytes"));
        }
        Ok(text)
    }

    /// An integer from 0 to 2⁶³ − 1, written without fraction or exponent.
    fn integer(&mut self, key: &str) -> Result<u64, String> {
        let what = "whole number from 0 to 2^63-1";
        let number: u64 = self.field(key, what)?;
        if number > i64::MAX as u64 {
            return Err(format!("'{key}' is not a {what}"));
        }
        Ok(number)
    }

    fn positive(&mut self, key: &str) -> Result<u64, String> {
        match self.integer(key)? {
            0 => Err(format!("'{key}' is 0")),
            number => Ok(number),
        }
    }

    fn page_size(&mut self, key: &str) -> Result<u32, String> {
        let size: u32 = self.field(key, "page size")?;
        if size.is_power_of_two() && (512..=65536).contains(&size) {
            Ok(size)
        } else {
            Err(format!("'{key}' is not a page size"))
        }
    }

    fn boolean(&mut self, key: &str) -> Result<bool, String> {
        self.field(key, "boolean")
    }

    fn level(&mut self, key: &str) -> Result<u8, String> {
        let level: u8 = self.field(key, "compression level")?;
        match Level::new(level) {
            Some(level) => Ok(level.number()),
            None => Err(format!("'{key}' is not a compression level")),
        }
    }

    fn nullable(&mut self, key: &str) -> Result<Option<String>, String> {
        if self.0.get(key).is_some_and(|raw| raw.get() == "null") {
            return Ok(None);
        }
        self.string(key).map(Some)
    }

    /// A field that only this project writes. In a plain archive the key may mean something else, and is ignored then.
    fn ours<T>(
        &mut self,
        key: &str,
        layout: Layout,
        read: impl Fn(&mut Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.optional(key, read) {
            Err(_) if layout == Layout::Plain => Ok(None),
            read => read,
        }
    }

    fn optional<T>(
        &mut self,
        key: &str,
        read: impl Fn(&mut Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        if self.0.contains_key(key) {
            read(self, key).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if fields.contains_key(&key) {
                        return Err(M::Error::custom(format_args!("the key '{key}' appears twice")));
                    }
                    fields.insert(key, value);
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"vpo_version":"v","schema_version":27,"created_at":"2026-02-05T14:30:22Z",
        "database_size_bytes":4096,"file_count":0,"total_library_size_bytes":0,"compression":"gzip",
        "database_sha256":"DIGEST","page_size":4096,"later":{"any":[1.5,null]}}"#;

    fn good() -> String {
        GOOD.replace("DIGEST", &"0f".repeat(32))
    }

    fn parse(json: &str) -> Result<Metadata, String> {
        Metadata::parse(json.as_bytes(), Layout::Blocks)
    }

    #[test]
    fn unknown_keys_are_accepted() {
        assert_eq!(parse(&good()).unwrap().schema_version, 27);
    }

    #[test]
    fn each_rule_is_kept() {
        let cases = [
            ("27", "0", "'schema_version' is 0"),
            ("27", "27.0", "'schema_version' is not a whole number"),
            ("27", "2e1", "'schema_version' is not a whole number"),
            ("27", "\"27\"", "'schema_version' is not a whole number"),
            ("27", "true", "'schema_version' is not a whole number"),
            ("27", "-1", "'schema_version' is not a whole number"),
            ("27", "9223372036854775808", "'schema_version' is not a whole number"),
            (
                "27",
                "99999999999999999999999",
                "'schema_version' is not a whole number",
            ),
            ("\"file_count\":0,", "", "'file_count' is missing"),
            ("\"v\"", "null", "'vpo_version' is not a string"),
            ("\"gzip\"", "\"zip\"", "'compression' is not gzip"),
            ("0f0f", "0F0f", "'database_sha256' is not a SHA-256"),
            ("14:30:22Z", "14:30:22+00:00", "'created_at' is not an RFC 3339"),
            (
                "\"page_size\":4096",
                "\"page_size\":4097",
                "'page_size' is not a page size",
            ),
            ("\"later\"", "\"page_size\"", "'page_size' appears twice"),
            ("\"later\"", "\"p\\u0061ge_size\"", "'page_size' appears twice"),
            (",\"page_size\":4096", "", "'page_size' is missing"),
            ("later\":{", "replaced\":1,\"x\":{", "'replaced' is not a boolean"),
            ("later\":{", "replaced\":null,\"x\":{", "'replaced' is not a boolean"),
            (
                "later\":{",
                "compression_level\":13,\"x\":{",
                "'compression_level' is not a compression level",
            ),
            (
                "later\":{",
                "compression_level\":6.0,\"x\":{",
                "'compression_level' is not a compression level",
            ),
            ("later\":{", "source_host\":5,\"x\":{", "'source_host' is not a string"),
            ("later\":{", "source_path\":[],\"x\":{", "'source_path' is not a string"),
        ];
        for (from, to, message) in cases {
            let json = good().replacen(from, to, 1);
            let error = parse(&json).expect_err(&json);
            assert!(error.contains(message), "{json}: {error}");
        }
        for json in ["", "[]", "{}", "{", "null", "\u{feff}{}"] {
            assert!(parse(json).is_err(), "{json}");
        }
        assert!(parse(&good().replace("\"v\"", &format!("\"{}\"", "v".repeat(4097)))).is_err());
        let nested = |n| {
            let value = format!("{}\"[{{\\\"[\"{}", "[".repeat(n), "]".repeat(n));
            parse(&good().replace("[1.5,null]", &value))
        };
        assert!(nested(126).is_ok());
        for n in [127, 100_000] {
            assert!(nested(n).unwrap_err().contains("nested"));
        }
    }

    #[test]
    fn archives_from_elsewhere_may_have_other_offsets_and_no_digest() {
        let json = good()
            .replace("14:30:22Z", "14:30:22+02:00")
            .replace("\"database_sha256\"", "\"x\"")
            .replace("\"page_size\"", "\"y\"");
        assert!(Metadata::parse(json.as_bytes(), Layout::Plain).is_ok());
    }

    #[test]
    fn what_was_backed_up() {
        let with = |fields: &str| good().replacen("\"later\":{", &format!("{fields},\"later\":{{"), 1);
        let json = with(r#""replaced":true,"compression_level":12,"source_host":"nas","source_path":"/srv/l.db""#);
        let metadata = parse(&json).unwrap();
        assert!(metadata.replaced);
        assert_eq!(metadata.compression_level, Some(12));
        assert_eq!(metadata.source().unwrap().to_string(), "nas:/srv/l.db");
        let again = serde_json::to_vec(&metadata).unwrap();
        assert_eq!(Metadata::parse(&again, Layout::Blocks), Ok(metadata));
        let half = parse(&with(r#""source_host":"nas","source_path":null"#)).unwrap();
        assert_eq!((half.source_host.as_deref(), half.source()), (Some("nas"), None));
        // The keys may mean something else to the program that made the archive.
        let long = format!(r#""source_host":"{}""#, "h".repeat(4097));
        for foreign in [
            r#""replaced":"no""#,
            r#""compression_level":99"#,
            r#""source_path":{}"#,
            &long,
        ] {
            assert!(parse(&with(foreign)).is_err(), "{foreign}");
            let plain = Metadata::parse(with(foreign).as_bytes(), Layout::Plain).unwrap();
            let known = (
                plain.replaced,
                plain.compression_level,
                plain.source_host,
                plain.source_path,
            );
            assert_eq!(known, (false, None, None, None), "{foreign}");
        }
    }
}
