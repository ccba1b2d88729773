//! Several servers as one (protocol.md §11): up to a hundred real loops on a simulated Redis whose
//! connections are slow, stand still and break, which is started anew, and whose nodes stand still,
//! die and come back; all of it repeated by a seed, but for uuids and the numbers of nodes.
//!
//! What must hold: nobody is said to have got what has not come, nothing comes twice or before what
//! the same script had sent earlier, who misses something is told unless the sender was, and after
//! peace every route works again.

mod far_ends;
mod moving;
mod redis;

use std::collections::BTreeSet;
use std::time::Duration;

use websock::app::App;
use websock::app::backplane::{BackplaneSecret, BackplaneSettings};
use websock::app::sign_in::TokenKey;
use websock::base::Record;
use websock::connection::MonotonicTime;
use websock::net::ServerSettings;
use websock::upstream::Target;

use self::far_ends::{KEY, Page, Pushed, Pusher, To};
use self::redis::Redis;
use crate::random::Random;
use crate::server::{Server, settings};

struct Cluster {
    random: Random,
    settings: ServerSettings,
    redis: Redis,
    nodes: Vec<Node>,
    pages: Vec<Page>,
    pushed: Vec<Pushed>,
    /// By the clock of all.
    now: MonotonicTime,
    /// Redis takes nobody in before.
    away_until: MonotonicTime,
    /// Pages lose their connections and come back to other nodes.
    pages_move: bool,
    /// Other processes take nodes over.
    is_taken_over: bool,
}

struct Node {
    server: Server,
    pusher: Pusher,
    /// It does nothing before.
    stopped_until: MonotonicTime,
}

impl Node {
    fn reaches_others(&mut self) -> bool {
        let request = "GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = self.server.ask(request, "127.0.0.1");
        assert!(answer.contains("\r\n\r\nready"), "{answer}");
        answer.ends_with("ready\n")
    }
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    Fine,
    Bad,
}

impl Cluster {
    fn new(seed: u64, node_count: usize) -> Self {
        let mut random = Random::new(seed);
        let mut settings = settings();
        settings.sign_in.token_key = Some(TokenKey::secret(KEY).unwrap());
        settings.backplane = BackplaneSettings {
            target: Some(Target::redis("unix:/redis.sock").unwrap()),
            secret: BackplaneSecret::new(&[7; 32]),
            ..BackplaneSettings::default()
        };
        let mut redis = Redis::default();
        redis.most_delay = Duration::from_millis(random.pick(&[0, 2, 20, 100]));
        let mut cluster = Self {
            random,
            settings,
            redis,
            nodes: Vec::new(),
            pages: Vec::new(),
            pushed: Vec::new(),
            now: MonotonicTime::START,
            away_until: MonotonicTime::START,
            pages_move: false,
            is_taken_over: false,
        };
        for _ in 0..node_count {
            let node = cluster.new_node();
            cluster.nodes.push(node);
        }
        // Some come before there is a number, most of them later.
        cluster.open_pages(1);
        cluster.rest(2000);
        cluster.open_pages(2);
        cluster.rest(1000);
        cluster
    }

    fn new_node(&self) -> Node {
        self.new_node_with(|_, _| {})
    }

    /// One that begins with something.
    fn new_node_with(&self, begin: impl FnOnce(&mut App, MonotonicTime)) -> Node {
        let mut server = Server::new(&self.settings);
        server.system.jump_to(self.now);
        server.system.let_dial(true);
        begin(server.event_loop.app_mut(), self.now);
        server.event_loop.add_app_upstreams();
        server.settle();
        Node {
            pusher: Pusher::new(&server),
            server,
            stopped_until: self.now,
        }
    }

    /// So many at each node.
    fn open_pages(&mut self, count: usize) {
        for node in 0..self.nodes.len() {
            for _ in 0..count {
                self.open_page(node);
            }
        }
    }

    fn open_page(&mut self, node: usize) {
        let user = self.random.below(USERS);
        let ident = self.random.below(IDENTS);
        let server = &mut self.nodes[node].server;
        self.pages.push(Page::open(server, node, user, ident));
    }

    // ---- time

    /// Time passes; all that is under way and due arrives.
    fn step(&mut self, millis: usize) {
        self.now += Duration::from_millis(millis as u64);
        for node in &mut self.nodes {
            node.server.system.let_dial(self.away_until <= self.now);
            if node.stopped_until <= self.now {
                let late = self.now - node.server.system.time();
                if late > Duration::from_millis(millis as u64) {
                    // It has stood still: everything is late at once.
                    node.server.system.jump_to(self.now);
                }
                let late = self.now - node.server.system.time();
                node.server.advance(late);
            }
        }
        for _ in 0..MOST_ROUNDS {
            for (index, node) in self.nodes.iter_mut().enumerate() {
                while let Some(end) = node.server.system.dialed() {
                    self.redis.accept(index, end);
                }
            }
            let has_moved = self.redis.run(self.now, &mut self.random);
            for node in &mut self.nodes {
                if node.stopped_until <= self.now {
                    node.server.settle();
                }
            }
            if !has_moved {
                break;
            }
        }
        self.pages.iter_mut().for_each(Page::listen);
        for node in &mut self.nodes {
            if let Some((at, answer)) = node.pusher.answer() {
                self.pushed[at].answer = Some(answer);
            }
            if node.pusher.is_gone() {
                node.pusher = Pusher::new(&node.server);
            }
        }
    }

    fn rest(&mut self, millis: usize) {
        for _ in 0..millis.div_ceil(REST_MILLIS) {
            self.step(REST_MILLIS);
        }
    }

    /// So much time that everything is answered, by small steps.
    fn go_on(&mut self) {
        for _ in 0..20 {
            self.step(20);
        }
    }

    // ---- what happens

    fn run(&mut self, steps: usize, weather: Weather) {
        for _ in 0..steps {
            if weather == Weather::Bad {
                self.break_something();
            }
            for node in 0..self.nodes.len() {
                if self.random.chance(40) {
                    self.push(node);
                }
            }
            if self.pages_move && self.random.chance(20) {
                self.move_page();
            }
            // What is late arrives in the next step, and a receipt takes four.
            let millis = match weather {
                Weather::Fine => self.random.between(1, 10),
                Weather::Bad => self.random.between(1, MOST_MILLIS),
            };
            self.step(millis);
        }
    }

    fn push(&mut self, node: usize) {
        let to = match self.random.below(10) {
            0..4 => To::Page(self.random.below(self.pages.len())),
            4..7 => To::User(self.random.below(USERS)),
            7..9 => To::Ident(self.random.below(IDENTS)),
            _ => To::All,
        };
        self.push_to(node, to);
    }

    fn push_to(&mut self, node: usize, to: To) {
        if self.nodes[node].pusher.waits_for.is_some() {
            return;
        }
        let at = self.pushed.len();
        // The sender stands in front, so that what it has sent can be told from others'.
        let number = node as u64 * NUMBERS + at as u64;
        let packet = match to {
            To::Page(page) => {
                let uuid = &self.pages[page].uuid;
                format!(r#"{{"opcode":"feedback","uuid":"{uuid}","n":{number}}}"#)
            }
            To::User(user) => {
                format!(r#"{{"opcode":"feedback","user":"u{user}","n":{number}}}"#)
            }
            To::Ident(ident) => {
                format!(r#"{{"opcode":"feedback","ident":"i{ident}","n":{number}}}"#)
            }
            To::All => format!(r#"{{"opcode":"broadcast","n":{number}}}"#),
        };
        self.nodes[node].pusher.push(&packet, at);
        self.pushed.push(Pushed {
            number,
            to,
            page_count: self.pages.len(),
            answer: None,
        });
    }

    /// A page loses its connection, or one that has comes back to some node.
    fn move_page(&mut self) {
        let at = self.random.below(self.pages.len());
        let node = self.random.below(self.nodes.len());
        let page = &mut self.pages[at];
        if !page.is_gone {
            page.break_off();
        } else if page.may_come_back && self.nodes[node].stopped_until <= self.now {
            page.come_back(&mut self.nodes[node].server, node);
        }
    }

    fn break_something(&mut self) {
        let node = self.random.below(self.nodes.len());
        let millis = self.random.pick(&[50, 300, 2000, 8000]);
        let until = self.now + Duration::from_millis(millis);
        match self.random.below(100) {
            0..3 => self.redis.cut(|line| line.node == node),
            3..5 => {
                let random = &mut self.random;
                self.redis.cut(|_| random.chance(50));
            }
            5..7 => self.redis.stand_still(|line| line.node == node, until),
            7 => {
                let forgets = self.random.chance(50);
                self.redis.restart(forgets);
                self.away_until = until;
            }
            8 => {
                let lifetimes = Duration::from_secs(self.random.pick(&[0, 0, 40]));
                self.nodes[node].stopped_until = until + lifetimes;
            }
            9 if self.random.chance(50) => self.kill(node),
            10 | 11 if self.is_taken_over && self.nodes[node].stopped_until <= self.now => {
                self.take_over(node);
            }
            12 | 13 if self.nodes[node].stopped_until <= self.now => self.open_page(node),
            _ => {}
        }
    }

    /// It dies, and another one is started in its place.
    fn kill(&mut self, node: usize) {
        self.redis.cut(|line| line.node == node);
        self.nodes[node] = self.new_node();
        for page in self.pages.iter_mut().filter(|page| page.node == node) {
            page.is_gone = true;
            page.may_come_back = false;
        }
        // Some are faster than Redis, or come when it hears the others.
        for _ in 0..self.random.below(3) {
            self.open_page(node);
        }
    }

    /// All its pages lose their connections; another process goes on with what is kept for them.
    fn take_over(&mut self, node: usize) {
        let state = self.end(node, |app, now| app.hand_over_state(now));
        self.nodes[node] = self.new_node_with(|app, now| {
            let record = Record::parse(&state).unwrap();
            app.take_over_state(record, now).unwrap();
        });
    }

    /// It ends, keeps what is kept for those who may come back, and is started so much later. What
    /// else happens meanwhile?
    fn start_anew(&mut self, node: usize, millis: usize, meanwhile: impl FnOnce(&mut Self)) {
        let kept = self.end(node, |app, now| app.kept_state(now, TIME_OF_DAY));
        let kept = kept.expect("pages");
        let down = Duration::from_millis(millis as u64);
        let until = self.now + down;
        self.nodes[node].stopped_until = until;
        meanwhile(self);
        while self.now < until {
            self.rest(REST_MILLIS);
        }
        self.nodes[node] = self.new_node_with(|app, now| {
            app.restore(&kept, now, TIME_OF_DAY + down).unwrap();
        });
    }

    /// Its connections are lost; what it leaves.
    fn end<T>(&mut self, node: usize, leave: impl FnOnce(&mut App, MonotonicTime) -> T) -> T {
        let server = &mut self.nodes[node].server;
        let now = server.system.time();
        let left = leave(server.event_loop.app_mut(), now);
        self.redis.cut(|line| line.node == node);
        let pages = self.pages.iter_mut().filter(|page| page.node == node);
        pages.for_each(Page::break_off);
        left
    }

    // ---- what must hold

    fn check(&self) {
        for page in &self.pages {
            let twice: Vec<_> = page.heard.iter().filter(|(_, count)| **count > 1).collect();
            if let Some((number, count)) = twice.first() {
                let pushed = &self.pushed[(**number % NUMBERS) as usize];
                panic!("{count} times at node {}: {pushed:?}", page.node);
            }
            for node in 0..self.nodes.len() as u64 {
                let of_it = |number: &&u64| **number / NUMBERS == node;
                let numbers: Vec<&u64> = page.order.iter().filter(of_it).collect();
                // An ident is looked for first: what follows it may be faster.
                // So is whoever has come from another node than its uuid says.
                let is_ident = |number: u64| {
                    let at = (number % NUMBERS) as usize;
                    let is_moved = |to: usize| self.pages[to].move_count > 0;
                    match self.pushed[at].to {
                        To::Ident(_) => true,
                        To::Page(to) => is_moved(to),
                        To::User(_) | To::All => false,
                    }
                };
                let direct = numbers.iter().filter(|number| !is_ident(***number));
                assert!(direct.is_sorted(), "out of order: {numbers:?}");
            }
        }
        self.pushed
            .iter()
            .for_each(|pushed| self.check_pushed(pushed));
    }

    fn check_pushed(&self, pushed: &Pushed) {
        let receivers = self.receivers(pushed);
        let has_heard = |page: &&&Page| page.heard.contains_key(&pushed.number);
        let heard = receivers.iter().filter(has_heard).count();
        let others = self.pages.iter().filter(|page| !page.is_gone);
        let heard_in_all = others.filter(|page| has_heard(&page)).count();
        assert!(heard >= heard_in_all, "somebody else has got {pushed:?}");
        if matches!(pushed.to, To::Ident(_)) {
            assert!(heard <= 1, "more than one has got {pushed:?}");
        }
        let Some((status, answer)) = &pushed.answer else {
            return;
        };
        // Those who have died since may have got it.
        // Those too who were told that something is missing.
        let silent = receivers
            .iter()
            .filter(|page| (page.is_gone || page.gap_count > 0) && !has_heard(page));
        // One that has come back may also be counted on the connection that it had lost before, of
        // which a server that stood still did not know yet. Whether it misses it is seen below.
        let is_twice =
            |page: &&&Page| page.has_come_back() && (page.gap_count > 0 || has_heard(page));
        let twice = receivers.iter().filter(is_twice).count();
        let delivered = answer["delivered"].as_u64().unwrap() as usize;
        assert!(
            delivered <= heard + silent.count() + twice,
            "{heard} of {} have got {pushed:?}",
            receivers.len()
        );
        assert!([200, 202, 404, 503, 504].contains(status), "{pushed:?}");
        let is_accepted = [200, 202].contains(status);
        let is_said = !is_accepted || answer["partial"] == true || answer.get("nodes").is_some();
        if is_said || matches!(pushed.to, To::Ident(_)) {
            return;
        }
        let began_before = &self.pages[..pushed.page_count];
        for page in receivers {
            let was_there = began_before.iter().any(|other| std::ptr::eq(other, page));
            let is_missed = was_there && !page.is_gone && !has_heard(&&page);
            assert!(
                !is_missed || page.gap_count > 0 || !GAPS_ARE_TOLD,
                "{pushed:?} is missed at node {}, and nobody says so",
                page.node
            );
        }
    }

    fn receivers(&self, pushed: &Pushed) -> Vec<&Page> {
        let is_one = |(at, page): &(usize, &Page)| match pushed.to {
            To::Page(other) => *at == other,
            To::User(user) => page.user == user,
            To::Ident(ident) => page.ident == ident,
            To::All => true,
        };
        let all = self.pages.iter().enumerate();
        all.filter(is_one).map(|(_, page)| page).collect()
    }

    /// After a while without faults, every route works from every node.
    fn check_peace(&mut self) {
        self.away_until = self.now;
        for node in &mut self.nodes {
            node.stopped_until = node.stopped_until.min(self.now);
        }
        self.redis.cut(|_| false);
        self.rest(PEACE_MILLIS);
        self.redis.most_delay = Duration::ZERO;
        self.rest(1000);
        let there = |pages: &[Page], is_one: &dyn Fn(&Page) -> bool| {
            pages
                .iter()
                .filter(|page| !page.is_gone && is_one(page))
                .count()
        };
        // All may have lost their connections.
        self.open_page(0);
        self.rest(1000);
        let pages: Vec<usize> = (0..self.pages.len())
            .filter(|page| !self.pages[*page].is_gone)
            .collect();
        for node in 0..self.nodes.len().min(MOST_TRIED) {
            let mut routes = vec![To::All];
            routes.extend((0..USERS).map(To::User));
            routes.extend((0..IDENTS).map(To::Ident));
            let some = (0..4).map(|_| To::Page(self.random.pick(&pages)));
            routes.extend(some);
            for to in routes {
                let at = self.pushed.len();
                self.push_to(node, to);
                for _ in 0..5 {
                    self.step(MOST_MILLIS);
                }
                let count = match to {
                    To::All => there(&self.pages, &|_| true),
                    To::User(user) => there(&self.pages, &|page| page.user == user),
                    To::Ident(ident) => there(&self.pages, &|page| page.ident == ident).min(1),
                    To::Page(_) => 1,
                };
                let (status, answer) = self.pushed[at].answer.as_ref().expect("an answer");
                // A tab may be kept where it was before it was told a gap.
                let is_kept =
                    self.pages_move || self.receivers(&self.pushed[at]).iter().any(is_away);
                let expected = match (count, to) {
                    (0, To::User(_) | To::Ident(_)) if is_kept => &[202, 404][..],
                    (0, To::User(_) | To::Ident(_)) => &[404],
                    _ => &[200],
                };
                let is_expected = expected.contains(status);
                assert!(is_expected, "{status} to {to:?} from {node}: {answer}");
                assert_eq!(answer["delivered"], count, "{to:?} from {node}: {answer}");
                assert!(answer.get("nodes").is_none() && answer.get("partial").is_none());
            }
        }
        self.check_numbers();
    }

    /// From every node a page is reached, and is there and nowhere else.
    fn check_reaches(&mut self, page: usize, when: &str) {
        for node in 0..self.nodes.len() {
            let pushed = self.pushed.len();
            self.push_to(node, To::Page(page));
            for _ in 0..5 {
                self.step(MOST_MILLIS);
            }
            let (status, answer) = self.pushed[pushed].answer.as_ref().unwrap();
            assert_eq!(*status, 200, "{when}, from {node}: {answer}");
        }
        self.check();
    }

    /// No two nodes have one number.
    fn check_numbers(&mut self) {
        let first = self.pages.len();
        self.open_pages(1);
        let numbers: BTreeSet<_> = self.pages[first..].iter().map(Page::node_number).collect();
        assert_eq!(numbers.len(), self.nodes.len(), "{numbers:?}");
    }
}

/// It has gone, but what is sent to it may be kept until it is back.
fn is_away(page: &&Page) -> bool {
    page.is_gone && page.may_come_back
}

/// Whether holes are told to tabs that have asked for it.
const GAPS_ARE_TOLD: bool = true;

const USERS: usize = 4;
const IDENTS: usize = 3;

/// When a node is started anew, since 1970.
const TIME_OF_DAY: Duration = Duration::from_secs(1_800_000_000);

/// What tells the numbers of one node's pushes from another's.
const NUMBERS: u64 = 1 << 32;

/// Longest step.
const MOST_MILLIS: usize = 60;

/// The same where nothing is waited for.
const REST_MILLIS: usize = 500;

/// Nodes from which all routes are tried in the end.
const MOST_TRIED: usize = 6;

/// How long it takes at most until all is well: a dead connection is noticed and another one made.
const PEACE_MILLIS: usize = 60_000;

/// More rounds than anything needs that is due in one step.
const MOST_ROUNDS: usize = 50;

fn run(seed: u64, node_count: usize, steps: usize) {
    let result = std::panic::catch_unwind(|| {
        let mut cluster = Cluster::new(seed, node_count);
        cluster.pages_move = true;
        cluster.run(steps / 5, Weather::Fine);
        cluster.run(steps, Weather::Bad);
        cluster.check_peace();
        cluster.check();
    });
    if let Err(panic) = result {
        eprintln!(
            "repeat with: SIM_SEED={seed} cargo test --test simulated cluster ({node_count} nodes)"
        );
        std::panic::resume_unwind(panic)
    }
}

// protocol.md 9.7, 11.5, 11.6
#[test]
fn cluster_keeps_its_promises_though_other_processes_take_nodes_over() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(20) / 2,
    };
    for seed in seeds {
        let mut cluster = Cluster::new(seed, 4);
        cluster.pages_move = true;
        cluster.is_taken_over = true;
        cluster.run(50, Weather::Fine);
        cluster.run(200, Weather::Bad);
        cluster.check_peace();
        cluster.check();
    }
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().expect("a number"))
}

// protocol.md 11.2, 11.3, 11.4, 11.5
#[test]
fn cluster_in_bad_weather_keeps_its_promises() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(20),
    };
    for seed in seeds {
        let node_count = Random::new(!seed).between(2, 7);
        run(seed, node_count, 200);
    }
}

// protocol.md 11.4
#[test]
fn cluster_in_fine_weather_loses_nothing() {
    let mut cluster = Cluster::new(1, 5);
    cluster.redis.most_delay = Duration::from_millis(2);
    cluster.run(100, Weather::Fine);
    for _ in 0..100 {
        cluster.step(5);
    }
    cluster.check();
    for pushed in &cluster.pushed {
        let (_, answer) = pushed.answer.as_ref().expect("all are answered");
        let all = cluster.receivers(pushed);
        let heard = all
            .iter()
            .filter(|page| page.heard.contains_key(&pushed.number));
        let expected = match pushed.to {
            To::Ident(_) => all.len().min(1),
            To::Page(_) | To::User(_) | To::All => all.len(),
        };
        assert_eq!(heard.count(), expected, "{pushed:?}");
        assert_eq!(answer["delivered"], expected, "{pushed:?}");
    }
}

// protocol.md 9.6, 11.6
#[test]
fn cluster_keeps_what_is_for_those_who_may_come_back() {
    let mut cluster = Cluster::new(2, 3);
    let pages = cluster.pages.iter_mut();
    pages
        .filter(|page| page.ident == 0 || page.user == 0)
        .for_each(Page::break_off);
    cluster.redis.most_delay = Duration::ZERO;
    cluster.rest(1000);
    for to in [To::Ident(0), To::User(0)] {
        for node in 0..3 {
            let at = cluster.pushed.len();
            cluster.push_to(node, to);
            for _ in 0..5 {
                cluster.step(MOST_MILLIS);
            }
            let (status, answer) = cluster.pushed[at].answer.as_ref().expect("an answer");
            assert_eq!(*status, 202, "{to:?} from {node}: {answer}");
        }
    }
    cluster.check_peace();
    cluster.check();
}

// protocol.md 9.3, 11.3
#[test]
fn cluster_keeps_for_one_that_goes_after_it_was_found_what_is_for_it_and_for_nobody_else() {
    let moments = (0..40).flat_map(|moment| [(moment, false), (moment, true)]);
    for (moment, is_taken_over) in moments {
        let mut cluster = Cluster::new(moment, 2);
        cluster.redis.most_delay = Duration::from_millis(20);
        let one = cluster.pages.len();
        let first = &mut cluster.nodes[0].server;
        cluster.pages.push(Page::open(first, 0, 0, IDENTS));
        cluster.rest(20_000);
        let pushed = cluster.pushed.len();
        cluster.push_to(1, To::Ident(IDENTS));
        for _ in 0..moment {
            cluster.step(2);
        }
        match is_taken_over {
            true => cluster.take_over(0),
            false => cluster.pages[one].break_off(),
        }
        let first = &mut cluster.nodes[0].server;
        first.settle();
        // One is in the same slot, also of a table that begins anew.
        let others = cluster.pages.len()..cluster.pages.len() + 8;
        for _ in others.clone() {
            cluster.pages.push(Page::open(first, 0, 1, IDENTS + 1));
        }
        for _ in 0..400 {
            cluster.step(5);
        }
        let (status, answer) = cluster.pushed[pushed].answer.clone().unwrap();
        let at = format!("{status} {answer} after {moment} steps, {is_taken_over}");
        for page in others {
            cluster.pages[page].break_off();
            cluster.step(1);
            cluster.pages[page].come_back(&mut cluster.nodes[0].server, 0);
            cluster.rest(1000);
            assert_eq!(cluster.pages[page].whole_count, 1, "{at}");
        }
        cluster.pages[one].come_back(&mut cluster.nodes[0].server, 0);
        cluster.rest(1000);
        let page = &cluster.pages[one];
        let heard = page.heard.get(&cluster.pushed[pushed].number);
        let told = heard.copied().unwrap_or(0) + page.gap_count;
        // A question that is lost with a process leaves the sender without an answer, of which it is
        // told.
        assert!(told == 1 || is_taken_over && status == 504, "{at}");
        cluster.check();
    }
}

// protocol.md 11.5
#[test]
fn cluster_tells_a_gap_where_a_node_has_come_and_gone_that_was_never_heard() {
    for is_first_connection in [false, true] {
        let mut cluster = Cluster::new(7, 2);
        cluster.redis.most_delay = Duration::from_millis(100);
        cluster.rest(20_000);
        // The other one has been silent for so long that it has not sent anything.
        cluster.nodes[1].stopped_until = cluster.now + Duration::from_secs(60);
        cluster.rest(60_000);
        let rest_without_first = |cluster: &mut Cluster, steps| {
            for _ in 0..steps {
                cluster.redis.cut(|line| line.node == 0);
                cluster.step(5);
            }
        };
        if is_first_connection {
            cluster.kill(0);
        }
        rest_without_first(&mut cluster, 10);
        let is_here = |page: &Page| page.node == 0 && !page.is_gone;
        let at = cluster.pages.iter().position(is_here).expect("a page");
        let gap_count = cluster.pages[at].gap_count;
        cluster.kill(1);
        rest_without_first(&mut cluster, 1500);
        let pushed = cluster.pushed.len();
        cluster.push_to(1, To::All);
        rest_without_first(&mut cluster, 100);
        let (status, answer) = cluster.pushed[pushed].answer.as_ref().expect("an answer");
        assert_eq!(*status, 200, "{answer}");
        assert_eq!(answer.get("partial"), None, "it has reached Redis");
        assert_eq!(answer.get("nodes"), None, "it has reached nobody else");
        cluster.kill(1);
        cluster.rest(30_000);
        let number = cluster.pushed[pushed].number;
        assert!(!cluster.pages[at].heard.contains_key(&number));
        assert!(cluster.pages[at].gap_count > gap_count, "nobody is told");
        cluster.check();
    }
}

/// Two nodes that have long been there, and a page at the first one whose uuid says so.
fn with_page_of_number(seed: u64) -> (Cluster, usize) {
    let mut cluster = Cluster::new(seed, 2);
    cluster.redis.most_delay = Duration::ZERO;
    cluster.rest(20_000);
    let at = cluster.pages.len();
    cluster.open_page(0);
    cluster.rest(1000);
    (cluster, at)
}

// protocol.md 9.7, 11.5
#[test]
fn cluster_tells_a_gap_where_a_node_has_gone_while_another_was_started_anew() {
    let (mut cluster, at) = with_page_of_number(8);
    let pushed = cluster.pushed.len();
    cluster.start_anew(0, 10_000, |cluster| {
        cluster.rest(1000);
        cluster.push_to(1, To::All);
        cluster.go_on();
        cluster.kill(1);
    });
    cluster.rest(5000);
    cluster.pages[at].come_back(&mut cluster.nodes[0].server, 0);
    cluster.rest(5000);
    let number = cluster.pushed[pushed].number;
    assert!(!cluster.pages[at].heard.contains_key(&number));
    assert!(cluster.pages[at].gap_count > 0, "nobody is told");
}

// protocol.md 9.7, 11.5
#[test]
fn cluster_tells_a_gap_where_a_node_was_taken_over_while_another_was_started_anew() {
    let (mut cluster, at) = with_page_of_number(12);
    let pushed = cluster.pushed.len();
    // A moment, in which nobody comes and goes.
    cluster.start_anew(0, 2000, |cluster| {
        cluster.rest(500);
        cluster.push_to(1, To::All);
        cluster.rest(500);
        cluster.take_over(1);
    });
    cluster.rest(2000);
    cluster.pages[at].come_back(&mut cluster.nodes[0].server, 0);
    cluster.rest(5000);
    let number = cluster.pushed[pushed].number;
    assert!(
        cluster.pushed[pushed].answer.is_some(),
        "it is said to be delivered"
    );
    assert!(!cluster.pages[at].heard.contains_key(&number));
    assert!(cluster.pages[at].gap_count > 0, "nobody is told");
}

// protocol.md 11.5
#[test]
fn cluster_tells_a_gap_of_what_waited_for_redis_in_a_process_that_has_gone() {
    let (mut cluster, at) = with_page_of_number(13);
    let ways = [false, true].map(|is_waiting| [(is_waiting, false), (is_waiting, true)]);
    for (is_waiting, is_started_anew) in ways.into_iter().flatten() {
        let (pushed, gap_count) = (cluster.pushed.len(), cluster.pages[at].gap_count);
        if is_waiting {
            let until = cluster.now + Duration::from_secs(60);
            cluster.redis.stand_still(|line| line.node == 1, until);
        }
        cluster.push_to(1, To::All);
        cluster.rest(1000);
        match is_started_anew {
            false => cluster.take_over(1),
            true => cluster.start_anew(1, 1000, |_| {}),
        }
        cluster.rest(20_000);
        let page = &cluster.pages[at];
        let is_heard = page.heard.contains_key(&cluster.pushed[pushed].number);
        assert_eq!(is_heard, !is_waiting);
        assert_eq!(page.gap_count > gap_count, is_waiting);
        cluster.check();
    }
}

// protocol.md 9.6, 9.7
#[test]
fn cluster_keeps_what_is_for_those_who_come_back_to_another_process_of_a_node() {
    for is_taken_over in [false, true] {
        let (mut cluster, at) = with_page_of_number(9);
        match is_taken_over {
            false => cluster.start_anew(0, 1000, |_| {}),
            true => cluster.take_over(0),
        }
        cluster.rest(5000);
        let first = cluster.pushed.len();
        for to in [To::User(cluster.pages[at].user), To::Page(at)] {
            cluster.push_to(1, to);
            cluster.go_on();
        }
        let pushed: Vec<_> = cluster.pushed[first..].iter().collect();
        for pushed in &pushed {
            let (_, answer) = pushed.answer.as_ref().expect("an answer");
            assert!(answer["queued"].as_u64() > Some(0), "{pushed:?}");
        }
        let numbers: Vec<_> = pushed.iter().map(|pushed| pushed.number).collect();
        cluster.pages[at].come_back(&mut cluster.nodes[0].server, 0);
        cluster.go_on();
        let page = &cluster.pages[at];
        assert_eq!((page.whole_count, page.gap_count), (1, 0));
        assert_eq!(page.order, numbers);
        cluster.check();
    }
}

// protocol.md 11.5
#[test]
fn cluster_tells_a_gap_of_what_a_node_said_before_it_lost_its_number() {
    let mut cluster = Cluster::new(3, 2);
    cluster.redis.most_delay = Duration::from_millis(20);
    cluster.rest(20_000);
    cluster.open_page(0);
    let page = cluster.pages.last().expect("a page");
    cluster.redis.take_number(page.node_number());
    let rest_without_second = |cluster: &mut Cluster, steps| {
        for _ in 0..steps {
            cluster.redis.cut(|line| line.node == 1);
            cluster.step(5);
        }
    };
    cluster.kill(1);
    let at = cluster.pages.len() - 1;
    rest_without_second(&mut cluster, 20);
    let pushed = cluster.pushed.len();
    cluster.push_to(0, To::All);
    rest_without_second(&mut cluster, 60);
    let (status, answer) = cluster.pushed[pushed].answer.as_ref().expect("an answer");
    assert_eq!(*status, 200, "{answer}");
    assert_eq!(answer.get("partial"), None, "it has reached Redis");
    // With a new connection it asks whose its number is.
    cluster.redis.cut(|line| line.node == 0);
    rest_without_second(&mut cluster, 200);
    cluster.rest(20_000);
    assert!(
        !cluster.pages[at]
            .heard
            .contains_key(&cluster.pushed[pushed].number)
    );
    assert!(cluster.pages[at].gap_count > 0, "nobody is told");
    cluster.check();
}

// protocol.md 9.6, 11.3
#[test]
fn cluster_finds_by_name_who_was_away_when_its_node_has_lost_its_number() {
    let (mut cluster, at) = with_page_of_number(10);
    cluster.pages[at].break_off();
    cluster.rest(1000);
    cluster.redis.take_number(cluster.pages[at].node_number());
    // The channel of the number is kept for a while.
    cluster.rest(30_000);
    let pushed = cluster.pushed.len();
    cluster.push_to(1, To::Page(at));
    cluster.go_on();
    let pushed = &cluster.pushed[pushed];
    let (status, answer) = pushed.answer.as_ref().expect("an answer");
    assert_eq!((*status, &answer["queued"]), (202, &1.into()), "{pushed:?}");
    let number = pushed.number;
    cluster.pages[at].come_back(&mut cluster.nodes[1].server, 1);
    cluster.go_on();
    let page = &cluster.pages[at];
    assert_eq!((page.whole_count, &*page.order), (1, &[number][..]));
    cluster.check();
}

// protocol.md 11.2
#[test]
fn cluster_of_a_hundred_nodes_is_one_server() {
    run(100, 100, 20);
}
