use proptest::prelude::*;

use super::*;

fn at(time: &str) -> Timestamp {
    Timestamp(time.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn schedule(rhythm: &str, zone: &str, jitter_s: u32, window: &str) -> Schedule {
    let window = (!window.is_empty()).then(|| Window::parse(window).unwrap());
    let rhythm = Rhythm::parse(rhythm).unwrap();
    Schedule { rhythm, zone: zone.to_owned(), jitter_s, window }.checked().unwrap()
}

#[test]
fn the_next_time_follows_the_clock_on_the_wall() {
    const BERLIN: &str = "Europe/Berlin";
    //  rhythm, zone, window, now, next
    let cases = [
        ("30 2 * * *", "UTC", "", "2026-01-31T02:29:59.999Z", "2026-01-31T02:30:00Z"),
        ("30 2 * * *", "UTC", "", "2026-01-31T02:30:00Z", "2026-02-01T02:30:00Z"),
        ("30 2 * * *", "UTC", "", "2026-01-31T02:30:00.001Z", "2026-02-01T02:30:00Z"),
        ("30 2 * * *", BERLIN, "", "2026-01-31T02:00:00Z", "2026-02-01T01:30:00Z"),
        ("0 4 29 2 *", "UTC", "", "2026-01-01T00:00:00Z", "2028-02-29T04:00:00Z"),
        ("0 4 * * MON", BERLIN, "", "2026-10-21T00:00:00Z", "2026-10-26T03:00:00Z"),
        // Summer time begins: 02:30 is skipped, and made up for at 03:00.
        ("30 2 * * *", BERLIN, "", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", BERLIN, "", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"),
        ("*/30 * * * *", BERLIN, "", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
        // Summer time ends: 02:30 comes twice, and is taken once.
        ("30 2 * * *", BERLIN, "", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", BERLIN, "", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"),
        ("*/30 * * * *", BERLIN, "", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
        // An interval counts from the last start.
        ("every 6h", "UTC", "", "2026-01-31T20:00:00.007Z", "2026-02-01T02:00:00.007Z"),
        ("every 6h", BERLIN, "", "2026-03-28T20:00:00Z", "2026-03-29T02:00:00Z"),
        ("every 1h", "UTC", "22:00-06:00", "2026-01-31T23:30:00Z", "2026-02-01T00:30:00Z"),
        ("every 1h", "UTC", "22:00-06:00", "2026-01-31T05:00:00Z", "2026-01-31T22:00:00Z"),
        // What is due while the window is closed comes once, when it opens.
        ("0 * * * *", "UTC", "22:00-06:00", "2026-01-31T05:00:00Z", "2026-01-31T22:00:00Z"),
        ("0 * * * *", "UTC", "22:00-06:00", "2026-01-31T12:34:00Z", "2026-01-31T22:00:00Z"),
        ("0 * * * *", "UTC", "22:00-06:00", "2026-01-31T22:00:00Z", "2026-01-31T23:00:00Z"),
        ("0 12 * * *", BERLIN, "22:00-06:00", "2026-01-31T12:34:00Z", "2026-01-31T21:00:00Z"),
        ("0 12 * * *", BERLIN, "22:00-06:00", "2026-01-31T21:00:00Z", "2026-02-01T21:00:00Z"),
        // A window that is skipped opens on the day after, and one that is repeated opens twice.
        ("0 12 * * *", BERLIN, "02:10-02:50", "2026-03-28T12:00:00Z", "2026-03-30T00:10:00Z"),
        ("0 12 * * *", BERLIN, "02:30-04:00", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("every 1h", BERLIN, "02:10-02:50", "2026-10-25T00:00:00Z", "2026-10-25T01:10:00Z"),
    ];
    for (rhythm, zone, window, now, next) in cases {
        let found = schedule(rhythm, zone, 0, window).next_after(at(now), 7);
        assert_eq!(found, Some(at(next)), "{rhythm} {zone} {window} {now}");
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_what_to_do() {
    let every = |seconds| Rhythm::Every { seconds };
    let cron = |text: &str| Rhythm::Cron(text.to_owned());
    let long = "1,".repeat(150);
    //  rhythm, zone, jitter, what is told
    let cases = [
        (every(59), "UTC", 0, "interval: 59 seconds are too short, take 60"),
        (every(2_678_401), "UTC", 0, "take 2678400 (31 days)"),
        (every(60), "Europe/Bern", 0, "zone: there is no time zone \"Europe/Bern\""),
        (every(60), "", 0, "zone: "),
        (every(60), "UTC", 3601, "jitter: 3601 seconds are too long, take 3600"),
        (cron(""), "UTC", 0, "has 0 fields and needs 5"),
        (cron("@daily"), "UTC", 0, "has 1 fields and needs 5"),
        (cron("0 30 2 * * *"), "UTC", 0, "has 6 fields and needs 5"),
        (cron("61 2 * * *"), "UTC", 0, "cron: \"61 2 * * *\" cannot be read"),
        (cron("0 0 30 2 *"), "UTC", 0, "never comes, as on 30 February"),
        (cron("0 0 31 4,6 *"), "UTC", 0, "never comes"),
        (cron(&long), "UTC", 0, "300 characters"),
    ];
    for (rhythm, zone, jitter_s, told) in cases {
        let refused = Schedule { rhythm, zone: zone.to_owned(), jitter_s, window: None };
        let error = refused.clone().checked().unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains('\n'), "{error}");
        assert_eq!(refused.next_after(Timestamp(0), 0), None);
    }
    for text in ["", "22:00", "22:00-", "22-06", "24:00-06:00", "2:00-06:00", "22:00-06:60"] {
        assert!(Window::parse(text).is_err(), "{text}");
    }
    assert_eq!(Window::parse("06:00-06:00"), Err(ScheduleError::EmptyWindow));
    for text in ["every", "every h", "every 6", "every 6 weeks", "every -1h", "every 1hh h"] {
        assert!(Schedule::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_schedule_is_told_in_words() {
    //  rhythm, zone, jitter, window, words
    let cases = [
        (
            "30 2 * * *",
            "europe/zurich",
            300,
            "",
            "at 02:30 every day, Europe/Zurich, up to 5 min later",
        ),
        ("every 6h", "UTC", 0, "", "6 h after the last start"),
        (
            "every 1d",
            "Europe/Berlin",
            90,
            "22:00-06:00",
            "1 day after the last start, only from 22:00 to 06:00, Europe/Berlin, up to 90 s later",
        ),
    ];
    for (rhythm, zone, jitter_s, window, words) in cases {
        assert_eq!(schedule(rhythm, zone, jitter_s, window).describe(), words);
    }
    for rhythm in ["*/15 * * * *", "0 4 * * MON", "0 4 L * *", "0,30 8-18 * * 1-5"] {
        let told = schedule(rhythm, "UTC", 0, "").describe();
        assert!(told.ends_with(", UTC") && !told.contains("every day"), "{told}");
    }
}

#[test]
fn a_schedule_is_stored_as_it_is() {
    let stored = r#"{"rhythm":{"cron":"30 2 * * *"},"zone":"Europe/Berlin","jitter_s":300,"window":{"from":"22:00","until":"06:00"}}"#;
    let schedule = schedule("30  2 * * *", "Europe/Berlin", 300, "22:00-06:00");
    assert_eq!(serde_json::to_string(&schedule).unwrap(), stored);
    assert_eq!(serde_json::from_str::<Schedule>(stored).unwrap(), schedule);
    let short: Schedule = serde_json::from_str(r#"{"rhythm":{"every":{"seconds":3600}}}"#).unwrap();
    assert_eq!(short, Schedule::parse("every 1h").unwrap());
    assert!(serde_json::from_str::<Schedule>(r#"{"rhythm":{"cron":"x"},"jitter":1}"#).is_err());
}

/// The same for all replicas, not the same for all connections, and each time within its bounds.
#[test]
fn the_spread_differs_by_connection() {
    let schedule = schedule("0 2 * * *", "UTC", 600, "");
    let now = at("2026-01-31T12:00:00Z");
    let due = at("2026-02-01T02:00:00Z");
    let times: std::collections::BTreeSet<Timestamp> =
        (0..100).map(|seed| schedule.next_after(now, seed).unwrap()).collect();
    assert!(times.len() > 60, "{}", times.len());
    assert!(times.iter().all(|&time| time >= due && time <= due.plus_ms(600_000)));
    // Between what is due and the start, the answer stays.
    let start = schedule.next_after(now, 5).unwrap();
    assert_eq!(schedule.next_after(start.plus_ms(-1), 5), Some(start));
    assert!(schedule.next_after(start, 5) > Some(due.plus_ms(86_399_999)));
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let rhythm = proptest::sample::select(vec![
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0 0 * * *",
        "15 1-3 * * 0",
        "0 12 1 * *",
        "59 23 L * *",
        "every 1m",
        "every 90m",
        "every 1d",
        "every 31d",
    ]);
    let zone = proptest::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
    ]);
    let window = proptest::option::of(prop_oneof![
        proptest::sample::select(vec!["02:10-02:50", "01:30-02:30", "22:00-06:00", "00:00-00:01"])
            .prop_map(str::to_owned),
        (0..24, 0..60, 0..24, 0..60)
            .prop_filter("empty", |(h, m, i, n)| (h, m) != (i, n))
            .prop_map(|(h, m, i, n)| format!("{h:02}:{m:02}-{i:02}:{n:02}")),
    ]);
    let jitter = prop_oneof![Just(0_u32), 0..=3600_u32];
    (rhythm, zone, jitter, window).prop_map(|(rhythm, zone, jitter_s, window)| {
        schedule(rhythm, zone, jitter_s, &window.unwrap_or_default())
    })
}

/// Times of two years, many of them near the changes of the clock in Berlin.
fn any_time() -> impl Strategy<Value = i64> {
    let changes = vec!["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2027-03-28T01:00:00Z"];
    let near = (proptest::sample::select(changes), -100_000_000..100_000_000_i64)
        .prop_map(|(change, off)| at(change).0 + off);
    prop_oneof![near, 1_767_225_600_000..1_830_297_600_000_i64]
}

proptest! {
    /// The next time is later, in the window, and never goes back when time goes on.
    #[test]
    fn the_next_time_is_later_and_in_the_window(
        schedule in any_schedule(),
        now in any_time(),
        later in prop_oneof![0..10_000_000_i64, 0..100_000_i64],
        seed in any::<u64>(),
    ) {
        let next = schedule.next_after(Timestamp(now), seed).unwrap();
        prop_assert!(next.0 > now, "{:?}", schedule);
        if let Some(window) = schedule.window {
            let zone = TimeZone::get(&schedule.zone).unwrap();
            let wall = jiff::Timestamp::from_millisecond(next.0).unwrap().to_zoned(zone);
            prop_assert!(window.has(DayTime::of(wall.time())), "{} {:?}", wall, schedule);
        }
        let after = schedule.next_after(Timestamp(now + later), seed).unwrap();
        prop_assert!(after >= next, "{} {} {:?}", next, after, schedule);
        if let Rhythm::Cron(_) = schedule.rhythm {
            // Nothing is between a time and the next one.
            let again = schedule.next_after(Timestamp(next.0 - 1), seed).unwrap();
            prop_assert_eq!(again, next);
        }
    }

    /// No time and no text makes it panic.
    #[test]
    fn no_input_panics(now in any::<i64>(), text in "[0-9*/,LW#A-Z+? -]{0,20}", seed in any::<u64>()) {
        for text in [&*text, "every 1d"] {
            if let Ok(schedule) = Schedule::parse(text) {
                prop_assert!(!schedule.describe().is_empty());
                let next = schedule.next_after(Timestamp(now), seed);
                prop_assert!(next.is_none_or(|next| next.0 > now));
            }
        }
    }
}
