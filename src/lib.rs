//! stub
pub mod archive;
pub mod backups;
pub mod cli;
pub mod database;
pub mod failure;
pub mod files;
pub mod library;
pub mod porcelain;
pub mod signals;
pub mod size;
pub mod time;
