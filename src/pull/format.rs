//! The form of a CSV file: its encoding, its separator and its rows.
