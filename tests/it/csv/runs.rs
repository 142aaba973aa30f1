//! Runs: rehearsed, one at a time, ended, killed and gone on with; the licence.

use std::sync::Arc;

use super::*;
use scimd::provision::pull::PULL_LEASE;
use scimd::provision::pull::Worker;
use scimd::store::runs::RunState;
use tokio::sync::Barrier;

fn numbered(from: usize, to: usize, rest: &str) -> Vec<String> {
    (from..to).map(|n| format!("u{n:04}{rest}")).collect()
}

fn lines(rows: &[String]) -> Vec<&str> {
    rows.iter().map(String::as_str).collect()
}

both! {
    async fn a_rehearsal_says_what_a_run_does(database) {
        let csv = Csv::on(&database).await;
        csv.test.local_person("lisa", serde_json::json!({})).await;
        csv.pull(file("manager,groups", &["ann,,G", "bob,ann,", "cleo,bob,H"])).await;
        let text = file("manager,groups", &["lisa,ann,G", "ann,dora,G;H", "dora,,", "bob,ann,", "eve,x,\u{1f600}", "eve,x,"]);
        let dry = csv.dry(&text).await;
        let run = csv.run().await;
        assert_eq!(dry.said(), run.said());
        assert_eq!(dry.pull().counts, run.pull().counts);
        // The run was no part of the rehearsal: it looks at the file itself. What was left out is tried again
        // with the same file.
        let left_out: Vec<_> = run.said().lines().filter(|line| line.contains("skipped")).map(str::to_owned).collect();
        assert_eq!((left_out.len(), csv.run().await.said()), (2, left_out.join("\n")));
    }

    async fn a_rehearsal_counts_seats_across_batches(database) {
        let csv = Csv::on(&database).await;
        csv.pull(file("", &["a", "b", "c"])).await;
        csv.test.limit(400).await;
        let rows = numbered(0, 700, "");
        let text = file("", &lines(&rows));
        let dry = csv.dry(&text).await;
        assert_eq!((dry.pull().counts.created, dry.pull().counts.blocked), (397, 303));
        let run = csv.run().await;
        assert_eq!((run.pull().counts.created, run.pull().counts.blocked), (397, 303));
        assert_eq!(dry.said(), run.said());
        // The three who are missing made room for three.
        assert_eq!(csv.test.queue().await.len(), 300);
        csv.test.assert_lawful().await;
    }

    async fn without_a_seat_people_come_in_blocked(database) {
        let csv = Csv::on(&database).await;
        csv.test.limit(2).await;
        let pulled = csv.pull(file("", &["ann", "bob", "cleo"])).await;
        assert_eq!(pulled.short(), "2 created ann, 3 created bob, 4 blocked cleo");
        let pulled = csv.pull(file("", &["bob", "cleo"])).await;
        assert_eq!(pulled.short(), "- suspended ann");
        assert_eq!(csv.accounts().await, "ann suspended: missing from source\nbob active\ncleo active");
        csv.pull(file("", &["ann", "bob", "cleo"])).await;
        assert_eq!(csv.test.standing("ann").await, "blocked: no free seat");
        csv.test.assert_lawful().await;
    }

    async fn a_licence_that_stops_ends_the_run_and_a_later_one_goes_on(database) {
        let csv = Csv::on(&database).await;
        csv.test.stop_at(300).await;
        let rows = numbered(0, 600, "");
        let text = file("", &lines(&rows));
        let dry = csv.dry(&text).await;
        assert!(dry.end().starts_with("failed: line 302: "), "{}", dry.end());
        let pulled = csv.run().await;
        assert_eq!(pulled.end(), dry.end());
        assert_eq!((pulled.pull().counts.created, pulled.pull().counts.skipped), (300, 1));
        assert_eq!(csv.test.accounts().await.len(), 300);
        csv.test.stop_at(550).await;
        let pulled = csv.run().await;
        assert!(pulled.end().starts_with("failed: line 552: "), "{}", pulled.end());
        csv.test.stop_at(600).await;
        let pulled = csv.run().await;
        assert_eq!((pulled.end().as_str(), pulled.pull().counts.created, pulled.pull().counts.unchanged), ("done", 50, 550));
        csv.test.assert_lawful().await;
    }

    /// What a run has done in part is no more what the last complete one has left behind.
    async fn going_back_to_the_file_before_takes_back_half_a_run(database) {
        let csv = Csv::on(&database).await;
        let (first, second) = (numbered(0, 600, ",Cook"), numbered(0, 600, ",Chef"));
        let first = file("job title", &lines(&first));
        csv.pull(&first).await;
        let before = csv.state().await;
        csv.upload(file("job title", &lines(&second))).await;
        let run = csv.begin().await;
        assert!(csv.work_for(run.clone(), 6).await.is_none());
        let run = csv.cancel(&run).await;
        assert!(run.changed > 0 && run.changed < 600, "{run:?}");
        assert!(csv.state().await != before);
        assert_eq!(csv.pull(&first).await.end(), "done");
        assert!(csv.state().await == before);
    }

    async fn a_run_that_is_cancelled_stops(database) {
        let csv = Csv::on(&database).await;
        let rows = numbered(0, 600, "");
        csv.upload(file("", &lines(&rows))).await;
        let run = csv.begin().await;
        let (pulls, id, at_work) = (csv.pulls.clone(), csv.connection.instance, Arc::new(tokio::sync::Notify::new()));
        let (tell, mut told) = (Arc::clone(&at_work), 0);
        let mut watch = move |_: &_| { told += 1; if told == 4 { tell.notify_one() } };
        let work = pulls.work_off(run.clone(), &mut watch);
        let stop = async { at_work.notified().await; csv.cancel(&run).await };
        let (worked, _) = tokio::join!(work, stop);
        let worked = worked.unwrap();
        assert_eq!(worked.state, RunState::Cancelled);
        let run = csv.pulls.provision().run(id, run.id).await.unwrap().unwrap();
        assert_eq!((run.state, run.pull.clone().unwrap().reason.as_deref()), (RunState::Cancelled, Some("ended by cli")).clone());
        assert_eq!(csv.test.accounts().await.len(), usize::try_from(run.changed).unwrap());
        assert!(csv.test.accounts().await.len() < 600);
        assert_eq!(csv.report(&run).await.len(), csv.test.accounts().await.len());
        assert!(csv.pulls.provision().take_up(&run).await.is_err());
        assert!(csv.pulls.provision().cancel_pull(&csv.pulls.provision().operator(), &run).await.is_err());
        assert_eq!(csv.run().await.pull().counts.unchanged, run.changed);
    }

    /// Two servers that begin at once, twenty times: one run, and it has one worker.
    async fn only_one_run_of_a_connection_is_under_way(database) {
        let csv = Csv::on(&database).await;
        csv.upload(file("", &["ann"])).await;
        let stores = [database.open().await, database.open().await];
        for round in 0..20 {
            let barrier = Arc::new(Barrier::new(2));
            let mut tasks = tokio::task::JoinSet::new();
            for store in &stores {
                let clock = csv.pulls.provision().clock.clone();
                let provision = scimd::provision::Provision::new(store.clone(), clock, scimd::clock::Ids);
                let (barrier, instance, id) = (Arc::clone(&barrier), csv.test.id, csv.connection.id);
                tasks.spawn(async move {
                    barrier.wait().await;
                    let author = provision.operator();
                    provision.begin_pull(&author, instance, id, false, Worker::Anybody).await
                });
            }
            let begun: Vec<_> = tasks.join_all().await.into_iter().filter_map(|begun| match begun {
                Ok(run) => Some(run),
                Err(scimd::provision::Error::Refused(refusal)) => {
                    assert!(refusal.detail.contains("is under way"), "{refusal:?}");
                    None
                }
                Err(error) => panic!("{error:?}"),
            }).collect();
            assert_eq!(begun.len(), 1, "round {round}");
            let barrier = Arc::new(Barrier::new(2));
            let mut tasks = tokio::task::JoinSet::new();
            for store in &stores {
                let clock = csv.pulls.provision().clock.clone();
                let provision = scimd::provision::Provision::new(store.clone(), clock, scimd::clock::Ids);
                let (barrier, run) = (Arc::clone(&barrier), begun[0].clone());
                tasks.spawn(async move {
                    barrier.wait().await;
                    provision.take_up(&run).await.ok()
                });
            }
            let taken: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
            assert_eq!(taken.len(), 1, "round {round}");
            csv.work(taken[0].clone()).await;
        }
    }

    /// Whoever was too slow has lost the run, and whatever it does is taken back.
    async fn a_second_worker_takes_over_when_the_lease_is_over_and_not_before(database) {
        let csv = Csv::on(&database).await;
        let rows = numbered(0, 600, "");
        csv.upload(file("", &lines(&rows))).await;
        let run = csv.begin().await;
        assert!(csv.work_for(run.clone(), 4).await.is_none());
        let provision = csv.pulls.provision();
        let almost = PULL_LEASE.checked_sub(std::time::Duration::from_millis(1)).unwrap();
        csv.test.advance(almost);
        assert!(provision.take_up(&csv.stored(&run).await).await.is_err());
        assert!(provision.pulls_left_alone().await.unwrap().is_empty());
        csv.test.advance(std::time::Duration::from_millis(1));
        let left = provision.pulls_left_alone().await.unwrap();
        let taken = provision.take_up(&left[0]).await.unwrap();
        // The first one comes back to life and finds that it has nothing to say.
        let lost = csv.pulls.work_off(left[0].clone(), &mut |_| ()).await.unwrap();
        assert_eq!((lost.state, lost.holder), (RunState::Open, taken.holder));
        let done = csv.work(taken).await;
        assert_eq!((done.end().as_str(), done.said().lines().count()), ("done", 600));
    }

    /// A run that is dropped at each of its steps, and gone on with, ends as one that was not.
    async fn wherever_a_run_is_killed_it_ends_alike(database) {
        let make = |which: usize| {
            let rows: Vec<String> = (0..700).filter(|n| which == 0 || n % 20 > 2).map(|n| {
                let title = if which == 1 && n % 3 == 0 { "Chef" } else { "Cook" };
                format!("u{n:04},{title},u{:04},{}", n / 5, if (n + which).is_multiple_of(2) { "A;B" } else { "C" })
            }).chain((0..which * 50).map(|n| format!("new{n},Cook,new{},D", n + 1))).collect();
            file("job title,manager,groups", &lines(&rows))
        };
        let mut expected = None;
        // As many leave as may: killed in the middle, those who are left are still as many as were counted.
        let guard = Guard { count_max: 1_000, percent_max: 15 };
        for steps in 0..200 {
            let database = if database.is_postgres() { Database::postgres().await.unwrap() } else { Database::sqlite() };
            let csv = Csv::with(&database, |settings| settings.guard = guard).await;
            csv.pull(make(0)).await;
            csv.upload(make(1)).await;
            let run = csv.begin().await;
            let ended = steps > 0 && csv.work_for(run.clone(), steps).await.is_some();
            let done = if steps == 0 || ended { csv.work_again(run, ended).await } else { csv.resume(&run).await };
            assert_eq!(done.end(), "done", "killed after step {steps}");
            let mut said: Vec<String> = done.said().lines().map(str::to_owned).collect();
            said.sort_unstable();
            let counts = done.pull().counts;
            let seen = (csv.state().await, said, counts, done.run.changed);
            if let Some(expected) = &expected {
                assert!(*expected == seen, "killed after step {steps}: {:?}", done.run);
            } else {
                expected = Some(seen);
            }
            csv.test.assert_lawful().await;
            if ended {
                assert!(steps > 6, "{steps}");
                return;
            }
        }
    }
}

impl Csv {
    async fn work_again(
        &self,
        run: scimd::store::runs::Run,
        ended: bool,
    ) -> crate::support::csv::Pulled {
        if !ended {
            return self.work(run).await;
        }
        let run = self.stored(&run).await;
        let items = self.report(&run).await;
        crate::support::csv::Pulled { run, items }
    }
}
