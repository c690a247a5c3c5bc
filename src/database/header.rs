//! The database header: the first 100 bytes (<https://www.sqlite.org/fileformat2.html#the_database_header>).

/// Length of the database header in bytes.
pub const HEADER_LEN: usize = 100;

/// No database is larger: 2³² − 2 pages of 64 KiB (<https://www.sqlite.org/limits.html>).
pub const MAX_DATABASE_SIZE: u64 = (u32::MAX as u64 - 1) * 65536;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What the header says about the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes in a page: a power of two, 512 to 65536.
    pub page_size: u32,
    /// Pages in the database; `None` if a legacy writer left the field out of date. It is valid if it is
    /// not zero and the version-valid-for number (offset 92) equals the file change counter (offset 24), section 1.3.8.
    pub page_count: Option<u32>,
    /// Bytes at the end of each page that SQLite does not use (offset 20).
    pub reserved_bytes: u8,
    /// Encoding of text: 1, 2 or 3; 0 in a database without tables (offset 56).
    pub text_encoding: u32,
    /// Whether pointer-map pages lie between the others: the largest root page is not 0 (offset 52).
    pub auto_vacuum: bool,
}

impl Header {
    /// Reads the header of a database from its first [`HEADER_LEN`] bytes.
    ///
    /// # Errors
    /// A phrase that says why this can't be a database.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(format!("{} bytes are too short for a SQLite database", bytes.len()));
        };
        if !header.starts_with(MAGIC) {
            return Err("it does not begin as a SQLite database does".into());
        }
        let field = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let page_size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65536,
            size if size.is_power_of_two() && size >= 512 => u32::from(size),
            size => return Err(format!("its header gives an impossible page size, {size}")),
        };
        let page_count = field(28);
        let valid = page_count != 0 && field(24) == field(92);
        Ok(Header {
            page_size,
            page_count: valid.then_some(page_count),
            reserved_bytes: header[20],
            text_encoding: field(56),
            auto_vacuum: field(52) != 0,
        })
    }

    /// Length of the database in bytes, if the header says.
    pub fn database_size(&self) -> Option<u64> {
        Some(u64::from(self.page_count?) * u64::from(self.page_size))
    }

    /// Checks a length against the header: page count × page size, or a multiple of the page size if the count is not
    /// valid.
    ///
    /// # Errors
    /// A phrase that gives both figures.
    pub fn check_size(&self, size: u64) -> Result<(), String> {
        match self.database_size() {
            Some(expected) if size != expected => Err(format!("it has {size} bytes where its header says {expected}")),
            None if size == 0 || !size.is_multiple_of(u64::from(self.page_size)) => Err(format!(
                "its {size} bytes are not a whole number of pages of {} bytes",
                self.page_size
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(page_size: u16, page_count: u32, valid_for: u32) -> [u8; HEADER_LEN] {
        let mut h = [0; HEADER_LEN];
        h[..16].copy_from_slice(MAGIC);
        h[16..18].copy_from_slice(&page_size.to_be_bytes());
        h[27] = 7;
        h[28..32].copy_from_slice(&page_count.to_be_bytes());
        h[92..96].copy_from_slice(&valid_for.to_be_bytes());
        h
    }

    #[test]
    fn every_legal_page_size_and_no_other() {
        for raw in 0..=u16::MAX {
            let legal = raw == 1 || (raw >= 512 && raw.is_power_of_two());
            assert_eq!(Header::parse(&header(raw, 1, 7)).is_ok(), legal, "{raw}");
        }
        assert_eq!(Header::parse(&header(1, 2, 7)).unwrap().database_size(), Some(131_072));
    }

    #[test]
    fn a_stale_page_count_is_not_believed() {
        for (count, valid_for) in [(0, 7), (3, 6)] {
            let h = Header::parse(&header(4096, count, valid_for)).unwrap();
            assert_eq!(h.database_size(), None);
            assert!(h.check_size(8192).is_ok());
            assert!(h.check_size(8193).is_err());
            assert!(h.check_size(0).is_err());
        }
    }
}
