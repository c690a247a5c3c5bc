//! What can be compared in two databases: the tables and columns that both have.

use rusqlite::Connection;

use crate::database::Encoding;

/// The table of media files, whose column `path` orders them.
pub const FILES: &str = "files";
/// The table of their tracks.
pub const TRACKS: &str = "tracks";
/// Columns of [`FILES`] that say nothing about a file: its number here, and which scan saw it, and when.
const OF_THE_SCAN: [&str; 3] = ["id", "scanned_at", "job_id"];
/// Columns of [`TRACKS`] that only tie a track to its file.
const OF_THE_TIE: [&str; 2] = ["id", "file_id"];

/// The columns that are compared.
pub struct Columns {
    /// Of `files`; the first is `path`.
    pub files: Vec<String>,
    /// Of `tracks`; `None` if tracks can't be found by their file.
    pub tracks: Option<Vec<String>>,
    /// True if both number their files by `id`.
    pub has_id: bool,
    /// True if, besides, both number their tracks by `id`, if these are compared, and in both each path is that of one file.
    pub numbered: bool,
    /// What only one of them has, and what is therefore not compared: `files.container_tags`.
    pub left_out: Vec<String>,
}

/// A side has no column `files.path`.
pub struct NoPaths;

/// The columns of `files` and `tracks` in one database; `None` if the table is missing.
pub struct Schema {
    files: Vec<String>,
    /// `files.id` is the key of the table itself, and so occurs at most once. A hostile `id` that occurs a million
    /// times would join each track with as many files.
    has_id: bool,
    /// No path occurs twice, or is NULL.
    has_unique_paths: bool,
    tracks: Option<Vec<String>>,
    /// `tracks.id` is the key of the table.
    tracks_have_id: bool,
}

impl Schema {
    /// Reads the schema of a database, if it has paths.
    pub fn read(connection: &Connection) -> rusqlite::Result<Result<Self, NoPaths>> {
        let tables = table_names(connection)?;
        let columns = |table: &str| match tables.iter().any(|name| is(name, table)) {
            true => column_names(connection, table).map(Some),
            false => Ok(None),
        };
        Ok(match columns(FILES)? {
            Some(files) if has(&files, "path") => Ok(Schema {
                has_id: key(connection, FILES)?.is_some_and(|key| is(&key, "id")),
                has_unique_paths: has_unique_paths(connection)?,
                files,
                tracks: columns(TRACKS)?,
                tracks_have_id: key(connection, TRACKS)?.is_some_and(|key| is(&key, "id")),
            }),
            _ => Err(NoPaths),
        })
    }
}

impl Columns {
    /// The columns that both have.
    pub fn shared(old: &Schema, new: &Schema) -> Self {
        let mut left_out = Vec::new();
        let mut files = vec!["path".to_owned()];
        let both = shared(FILES, &old.files, &new.files, &OF_THE_SCAN, &mut left_out);
        files.extend(both.into_iter().filter(|name| !is(name, "path")));
        let has_id = old.has_id && new.has_id;
        let tied = |tracks: &[String]| has_id && has(tracks, "file_id") && has(tracks, "track_index");
        let tracks = match (&old.tracks, &new.tracks) {
            (Some(old), Some(new)) if tied(old) && tied(new) => {
                Some(shared(TRACKS, old, new, &OF_THE_TIE, &mut left_out))
            }
            (None, None) => None,
            _ => {
                left_out.push(TRACKS.into());
                None
            }
        };
        let both = |of: fn(&Schema) -> bool| of(old) && of(new);
        let numbered = has_id
            && both(|schema| schema.has_unique_paths)
            && (tracks.is_none() || both(|schema| schema.tracks_have_id));
        Columns {
            files,
            tracks,
            has_id,
            numbered,
            left_out,
        }
    }
}

fn shared(table: &str, old: &[String], new: &[String], not: &[&str], left_out: &mut Vec<String>) -> Vec<String> {
    let counts = |name: &&String| !not.iter().any(|other| is(name, other));
    let (both, only_old): (Vec<&String>, _) = old.iter().filter(counts).partition(|name| has(new, name));
    let only_new = new.iter().filter(counts).filter(|name| !has(old, name));
    left_out.extend(
        only_old
            .into_iter()
            .chain(only_new)
            .map(|name| format!("{table}.{name}")),
    );
    both.into_iter().cloned().collect()
}

fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|other| is(other, name))
}

fn is(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// The ordinary tables of a database except SQLite's own: no views, and no virtual tables, which have no root page.
pub fn table_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT CAST(name AS BLOB) FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 \
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    names(connection, sql, [])
}

/// The columns of a table; generated ones, which follow from others, are not among them.
fn column_names(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    names(
        connection,
        "SELECT CAST(name AS BLOB) FROM pragma_table_info(?1)",
        [table],
    )
}

/// True if an index sees to it that no two rows of [`FILES`] have the same path. Under a collation other than BINARY still
/// fewer paths are different.
fn has_unique_paths(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = 'path' COLLATE NOCASE AND \"notnull\") \
               AND EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list WHERE \"unique\" AND NOT partial \
               AND (SELECT group_concat(coalesce(name, '')) FROM pragma_index_info(list.name)) = 'path' COLLATE NOCASE)";
    connection.query_row(sql, [FILES], |row| row.get(0))
}

/// The column by which SQLite itself keeps the rows of a table: the primary key, where that has no index
/// (<https://www.sqlite.org/lang_createtable.html#rowid>).
fn key(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT CAST(name AS BLOB) FROM pragma_table_info(?1) WHERE pk > 0 \
               AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    let mut keys = names(connection, sql, [table])?;
    Ok(keys.pop().filter(|_| keys.is_empty()))
}

/// Names that a query returns as blobs, see [`Value::sql`](super::value::Value::sql). No query could name what is not
/// UTF-8.
fn names(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<String>> {
    let encoding = Encoding::of(connection)?;
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query(params)?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let name = encoding
            .utf8(row.get_ref(0)?.as_bytes().unwrap_or_default())
            .into_owned();
        names.extend(String::from_utf8(name));
    }
    Ok(names)
}

/// A name in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
