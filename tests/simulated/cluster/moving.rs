//! Tabs that go from one node to another (protocol.md 11.6).

use super::*;

// protocol.md 11.6
#[test]
fn cluster_in_fine_weather_moves_tabs_and_loses_nothing() {
    let mut moved = 0;
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed, 4);
        cluster.redis.most_delay = Duration::from_millis(2);
        cluster.rest(20_000);
        cluster.pages_move = true;
        cluster.run(300, Weather::Fine);
        for at in 0..cluster.pages.len() {
            let node = cluster.random.below(cluster.nodes.len());
            if cluster.pages[at].is_gone {
                let server = &mut cluster.nodes[node].server;
                cluster.pages[at].come_back(server, node);
            }
        }
        for _ in 0..200 {
            cluster.step(5);
        }
        cluster.check();
        for page in &cluster.pages {
            assert_eq!(page.gap_count, 0, "seed {seed}: {:?}", page.gaps);
            moved += page.move_count;
        }
        for pushed in &cluster.pushed {
            let (status, answer) = pushed.answer.as_ref().expect("all are answered");
            let all = cluster.receivers(pushed);
            let heard = all
                .iter()
                .filter(|page| page.heard.contains_key(&pushed.number))
                .count();
            let expected = match pushed.to {
                To::Ident(_) => all.len().min(1),
                To::Page(_) | To::User(_) | To::All => all.len(),
            };
            // Whoever was found may have gone before the message came; then that is said.
            let is_ident = matches!(pushed.to, To::Ident(_));
            let is_moved = matches!(pushed.to, To::Page(to) if cluster.pages[to].move_count > 0);
            let is_gone = *status == 404 && (is_ident || is_moved || all.is_empty());
            let expected = if is_gone { 0 } else { expected };
            assert!(is_gone || [200, 202].contains(status), "{pushed:?}");
            assert!(answer.get("partial").is_none(), "{pushed:?}");
            // A connection that is lost before its page has said who it was never comes back.
            let is_kept_in_vain = *status == 202 && is_ident && heard == 0;
            assert!(
                heard == expected || is_kept_in_vain,
                "seed {seed}: {heard} of {expected} {pushed:?}"
            );
        }
    }
    assert!(moved > 100, "{moved} have moved");
}

// protocol.md 11.6
#[test]
fn cluster_has_a_tab_once_though_the_node_that_gave_it_was_cut_off_before_it_knew() {
    // Also for longer than it is told often, and though the tab goes on to a third one meanwhile.
    for (seed, cut_steps, is_number_lost, goes_on) in [
        (0, 20, false, false),
        (1, 100, false, false),
        (2, 100, true, false),
        (3, 500, false, false),
        (4, 2000, true, false),
        (5, 500, false, true),
        (6, 2000, true, true),
    ] {
        let (mut cluster, at) = with_page_that_has_gone(seed);
        cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
        while cluster.pages[at].is_coming_back() {
            cluster.step(1);
        }
        assert_eq!(cluster.pages[at].whole_count, 1, "seed {seed}");
        if is_number_lost {
            cluster.redis.take_number(cluster.pages[at].node_number());
        }
        for step in 0..cut_steps {
            cluster.redis.cut(|line| line.node == 0);
            cluster.step(5);
            match step {
                20 if goes_on => cluster.pages[at].break_off(),
                21 if goes_on => cluster.pages[at].come_back(&mut cluster.nodes[2].server, 2),
                // The process there has never had it.
                100 if goes_on => cluster.take_over(1),
                _ => {}
            }
        }
        assert!(!cluster.pages[at].is_coming_back(), "seed {seed}");
        cluster.check_peace();
        cluster.check_reaches(at, &format!("seed {seed}"));
    }
}

// protocol.md 11.6
#[test]
fn cluster_moves_a_tab_to_a_node_that_has_just_started_and_nobody_is_told_a_gap() {
    for moment in 0..60 {
        let (mut cluster, at) = with_page_of_number(11);
        cluster.redis.most_delay = Duration::from_millis(20);
        cluster.push_to(1, To::All);
        cluster.push_to(0, To::All);
        cluster.go_on();
        cluster.redis.cut(|line| line.node == 1);
        cluster.nodes[1] = cluster.new_node();
        while !cluster.nodes[1].reaches_others() {
            cluster.step(1);
        }
        for _ in 0..moment {
            cluster.step(1);
        }
        let fresh = cluster.pages.len();
        cluster.open_page(1);
        let missed = cluster.pushed.len();
        cluster.pages[at].break_off();
        cluster.step(1);
        cluster.push_to(0, To::Page(at));
        cluster.step(1);
        cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
        while cluster.pages[at].is_coming_back() {
            cluster.step(1);
        }
        let number = cluster.pushed[missed].number;
        assert!(cluster.pages[at].heard.contains_key(&number));
        cluster.rest(20_000);
        let gaps = [at, fresh].map(|page| cluster.pages[page].gap_count);
        assert_eq!(gaps, [0, 0], "after {moment} ms");
        cluster.check();
    }
}

/// Three nodes that know each other, and a page that has just gone from the first one, by whose number
/// it is called.
fn with_page_that_has_gone(seed: u64) -> (Cluster, usize) {
    let mut cluster = Cluster::new(seed, 3);
    cluster.redis.most_delay = Duration::from_millis(20);
    cluster.rest(20_000);
    let at = cluster.pages.len();
    cluster.open_page(0);
    assert_ne!(cluster.pages[at].node_number(), "0000", "seed {seed}");
    cluster.rest(1000);
    cluster.pages[at].break_off();
    cluster.step(5);
    (cluster, at)
}

// protocol.md 11.6
#[test]
fn cluster_leaves_a_tab_with_the_node_that_has_it_though_another_one_asked_for_it_later() {
    for millis in (0..200).step_by(5) {
        let (mut cluster, at) = with_page_that_has_gone(9);
        // It has gone before the node's question has left.
        let until = cluster.now + Duration::from_millis(millis);
        cluster.redis.stand_still(|line| line.node == 1, until);
        cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
        cluster.step(5);
        cluster.pages[at].break_off();
        cluster.step(5);
        cluster.pages[at].come_back(&mut cluster.nodes[2].server, 2);
        for _ in 0..2 {
            while cluster.pages[at].is_coming_back() {
                cluster.step(5);
            }
            // Its next connection is the same tab.
            cluster.pages[at].break_off();
            cluster.step(5);
            cluster.pages[at].come_back(&mut cluster.nodes[2].server, 2);
        }
        cluster.check_peace();
        assert!(!cluster.pages[at].is_coming_back(), "{millis} ms");
        cluster.check_reaches(at, &format!("{millis} ms"));
    }
}

// protocol.md 11.6
#[test]
fn cluster_does_not_take_a_tab_that_is_given_when_the_time_for_it_is_over() {
    for moment in (0..100).step_by(4) {
        let (mut cluster, at) = with_page_that_has_gone(10);
        cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
        // At one of these moments it has asked and has no answer.
        for _ in 0..moment {
            cluster.step(1);
        }
        cluster.nodes[1].stopped_until = cluster.now + Duration::from_secs(4);
        for _ in 0..20 {
            cluster.step(10);
        }
        cluster.pages[at].break_off();
        cluster.pages[at].come_back(&mut cluster.nodes[2].server, 2);
        while cluster.pages[at].is_coming_back() {
            cluster.step(5);
        }
        cluster.kill(0);
        cluster.rest(5000);
        assert!(!cluster.pages[at].is_gone);
        cluster.check_peace();
        cluster.check_reaches(at, &format!("it stood still after {moment} ms"));
    }
}

// protocol.md 11.6
#[test]
fn cluster_moves_a_tab_from_a_node_that_another_process_has_taken_over() {
    let (mut cluster, at) = with_page_of_number(11);
    cluster.push_to(0, To::All);
    cluster.go_on();
    cluster.take_over(0);
    cluster.rest(2000);
    cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
    cluster.go_on();
    assert_eq!(cluster.pages[at].gaps, [""; 0]);
    assert_eq!(cluster.pages[at].whole_count, 1);
    cluster.check();
}

// protocol.md 11.6
#[test]
fn cluster_tells_a_tab_once_what_came_before_it_moved_and_counted_only_then() {
    let mut held_count = 0;
    for seed in 0..160 {
        let mut cluster = Cluster::new(seed, 3);
        cluster.redis.most_delay = Duration::from_millis(20);
        cluster.rest(20_000);
        // It is found by its name, on which both nodes listen that it has been at.
        let at = 0;
        assert_eq!(cluster.pages[at].node_number(), "0000");
        cluster.pages[at].break_off();
        cluster.step(5);
        cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
        (0..100).for_each(|_| cluster.step(5));
        cluster.rest(20_000);
        // What a node says counts when it has answered, which it does later: it does not hear the
        // question.
        let until = cluster.now + Duration::from_millis(200 + seed % 40);
        let step = |cluster: &mut Cluster| {
            let is_deaf = cluster.now < until;
            cluster
                .redis
                .cut(|line| is_deaf && line.node == 2 && line.is_subscriber());
            cluster.step(5);
        };
        cluster.redis.cut(|line| line.node != 2);
        (0..40).for_each(|_| step(&mut cluster));
        let pushed = cluster.pushed.len();
        cluster.push_to(2, To::Page(at));
        (0..10).for_each(|_| step(&mut cluster));
        let number = cluster.pushed[pushed].number;
        held_count += usize::from(!cluster.pages[at].heard.contains_key(&number));
        cluster.pages[at].break_off();
        step(&mut cluster);
        cluster.pages[at].come_back(&mut cluster.nodes[0].server, 0);
        (0..100).for_each(|_| step(&mut cluster));
        cluster.rest(20_000);
        cluster.check();
    }
    assert!(held_count > 80, "held in {held_count} of 160");
}
