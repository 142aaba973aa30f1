//! When a source is pulled.
