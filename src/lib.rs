//! stub
pub mod archive;
pub mod database;
pub mod failure;
pub mod files;
pub mod signals;
pub mod size;
pub mod time;

const _: () = assert!(true);
