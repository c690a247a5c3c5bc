//! What a program did, and what is expected of it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;

use super::process::PROGRAMS;

/// What a program did.
#[derive(Debug)]
pub struct Output {
    pub name: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        if self.status.code() != Some(code) {
            let out = String::from_utf8_lossy(&self.stdout[..self.stdout.len().min(2000)]);
            panic!(
                "{} ended with {}, not {code}\nstderr: {}\nstdout: {out}",
                self.name, self.status, self.stderr
            );
        }
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Ended well, and had nothing to say about it.
    #[track_caller]
    pub fn silent(self) -> Self {
        let this = self.ok();
        assert_eq!(this.stderr, "", "{}", this.name);
        this
    }

    /// Failed with this code, and said so in the form of the contract: one line that has all of `needles`, perhaps a
    /// hint, nothing else.
    #[track_caller]
    pub fn fails(self, code: i32, needles: &[&str]) -> Self {
        let this = self.exits(code);
        let lines: Vec<_> = this.stderr.lines().collect();
        assert!(
            lines.len() == 1 || (lines.len() == 2 && lines[1].starts_with("hint: ")),
            "{}: not one error line and perhaps a hint:\n{}",
            this.name,
            this.stderr
        );
        this.check_error_line(lines[0], needles);
        this
    }

    /// Failed with this code; the error line is the last one but hints, after warnings, reports of progress or a
    /// question.
    #[track_caller]
    pub fn fails_after_all(self, code: i32, needles: &[&str]) -> Self {
        let this = self.exits(code);
        let line = this
            .stderr
            .lines()
            .rfind(|line| !line.starts_with("hint: "))
            .unwrap_or_default();
        this.check_error_line(line, needles);
        this
    }

    #[track_caller]
    fn check_error_line(&self, line: &str, needles: &[&str]) {
        // With a wrong reason the right status proves little.
        let said = !needles.is_empty() && needles.iter().all(|needle| !needle.is_empty());
        assert!(said, "which message is expected is to be said; this came: {line}");
        // The wrapper may leave the last word to the program that failed.
        let by = PROGRAMS
            .iter()
            .find_map(|program| line.strip_prefix(&format!("{program}: ")));
        let Some(message) = by.filter(|_| self.name == "vpo-library" || line.starts_with(&self.name)) else {
            panic!("no error line of {}: {line:?}\n{}", self.name, self.stderr);
        };
        let first = message.chars().next().unwrap_or('.');
        let variable = message.starts_with("VPO_");
        assert!(
            (variable || !first.is_uppercase()) && !message.ends_with('.'),
            "not in the style of an error: {line}"
        );
        for needle in needles {
            assert!(line.contains(needle), "{needle:?} is not in: {line}");
        }
    }

    /// The hint.
    #[track_caller]
    pub fn hint(&self) -> &str {
        let hint = self.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
        hint.unwrap_or_else(|| panic!("{} gives no hint: {}", self.name, self.stderr))
    }

    /// Was ended by a closed pipe, without a word.
    #[track_caller]
    pub fn ended_silently(self) {
        assert!(!self.status.success(), "{} takes a closed pipe for success", self.name);
        assert_eq!(self.stderr, "", "{} says something about a closed pipe", self.name);
    }

    #[track_caller]
    pub fn ended_by(self, signal: i32) -> Self {
        let ended = self.status.signal();
        assert_eq!(ended, Some(signal), "{}: {} {}", self.name, self.status, self.stderr);
        self
    }

    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one JSON document that standard output holds.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| {
            let out = String::from_utf8_lossy(&self.stdout);
            panic!(
                "{}: not one JSON document: {error}\nstdout: {out}\nstderr: {}",
                self.name, self.stderr
            )
        })
    }

    /// The document that stands for a failure: it says what stderr says.
    #[track_caller]
    pub fn json_error(&self, code: i32) {
        let json = self.json();
        assert_eq!(json["success"], false, "{json}");
        assert_eq!(json["exit_code"], code, "{json}");
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty()), "{json}");
        let hint = json.get("hint");
        if let Some(hint) = hint {
            assert_eq!(hint, self.hint());
        }
        let keys = 3 + usize::from(hint.is_some());
        assert_eq!(json.as_object().unwrap().len(), keys, "{json}");
    }
}

/// An object has all of these keys.
#[track_caller]
pub fn has_keys(json: &Value, keys: &[&str]) {
    let object = json.as_object().unwrap_or_else(|| panic!("no object: {json}"));
    for key in keys {
        assert!(object.contains_key(*key), "no key {key:?} in {json:#}");
    }
}

/// What the programs of a pipeline did.
pub struct Outputs(pub Vec<Output>);

impl Outputs {
    /// All ended well; gives what the last one wrote.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        self.0.into_iter().map(Output::ok).next_back().unwrap().stdout
    }

    #[track_caller]
    pub fn last(mut self) -> Output {
        self.0.pop().unwrap()
    }
}
