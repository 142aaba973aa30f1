//! People from CSV files: what a run makes of a directory, whatever happens to the file, to the network
//! and to whoever works on it.

mod guard;
mod kill;
mod loopholes;
mod matching;
mod people;
mod remote;
mod round_trip;
mod runs;

use scimd::directory::Guard;
use scimd::directory::source::{Column, MatchBy, Mode};

use crate::support::csv::{Csv, OPEN, file};
use crate::support::{Database, both};
