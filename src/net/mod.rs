//! The one guarded HTTP client: every address is checked at connect time, on every hop.
