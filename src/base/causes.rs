//! Errors of libraries, told with their causes.

use std::error::Error;

/// An error with its causes, for people. (What `aws-sdk-s3` shows of its own is a tree of its types.)
pub fn in_words(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
