//! DEFLATE by libdeflate, with the one thing that its safe wrapper does not report: where the stream ended.
//!
//! Without it, bytes between the end of a DEFLATE stream and the trailer would pass here and be refused by gzip(1).

use std::ffi::c_void;
use std::ptr::NonNull;

use libdeflate_sys as sys;

/// A decompressor, reused from block to block.
pub struct Inflater(NonNull<sys::libdeflate_decompressor>);

// SAFETY: a libdeflate decompressor is plain memory without ties to a thread ("not thread-safe" in its header means
// that two threads must not use one at the same time), and it is used through `&mut self` only.
unsafe impl Send for Inflater {}

impl Inflater {
    /// A new one.
    pub fn new() -> Self {
        // SAFETY: no arguments; null means that there was no memory, as in any other allocation.
        let raw = unsafe { sys::libdeflate_alloc_decompressor() };
        Inflater(NonNull::new(raw).expect("out of memory"))
    }

    /// Decompresses a stream that must fill `data` and use up `deflated`, both to the last byte.
    ///
    /// # Errors
    /// A phrase that says what does not fit.
    pub fn inflate(&mut self, deflated: &[u8], data: &mut [u8]) -> Result<(), String> {
        let (mut used, mut made) = (0, 0);
        // SAFETY: the decompressor is valid until dropped; both buffers are valid for the lengths given, and distinct
        // because one is borrowed mutably; libdeflate reads and writes within those lengths, and keeps no pointer.
        let result = unsafe {
            sys::libdeflate_deflate_decompress_ex(
                self.0.as_ptr(),
                deflated.as_ptr().cast::<c_void>(),
                deflated.len(),
                data.as_mut_ptr().cast::<c_void>(),
                data.len(),
                &mut used,
                &mut made,
            )
        };
        match result {
            sys::libdeflate_result_LIBDEFLATE_SUCCESS if made != data.len() => {
                Err("it has less content than its trailer says".into())
            }
            sys::libdeflate_result_LIBDEFLATE_SUCCESS if used != deflated.len() => {
                Err("there are bytes between its content and its trailer".into())
            }
            sys::libdeflate_result_LIBDEFLATE_SUCCESS => Ok(()),
            sys::libdeflate_result_LIBDEFLATE_INSUFFICIENT_SPACE => {
                Err("it has more content than its trailer says".into())
            }
            _ => Err("its compressed bytes make no sense".into()),
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, freed once.
        unsafe { sys::libdeflate_free_decompressor(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_have_to_fit() {
        // A stored block of three bytes (RFC 1951, 3.2.4).
        let stream = [1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];
        let mut inflater = Inflater::new();
        let mut data = [0; 3];
        inflater.inflate(&stream, &mut data).unwrap();
        assert_eq!(&data, b"abc");
        assert!(inflater.inflate(&stream, &mut [0; 2]).is_err());
        assert!(inflater.inflate(&stream, &mut [0; 4]).is_err());
        assert!(inflater.inflate(&[&stream[..], &[0]].concat(), &mut data).is_err());
        assert!(inflater.inflate(&stream[..7], &mut data).is_err());
    }
}
