//! A run of the program that ends by itself.

use std::process::Command;

/// What it printed and how it ended.
#[derive(Debug)]
pub struct Output {
    /// 0 to 255; `None` where a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn of(command: &mut Command) -> Output {
        let output = command.output().unwrap();
        Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
