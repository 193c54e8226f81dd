//! Choices beside nginx 1.31's own, which were taken from it with the same servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daemun_core::listen::Address;
use daemun_core::named_pattern::NamedPattern;
use daemun_core::script::{Script, Session, VariableId};
use daemun_event::Peer as Client;
use daemun_pattern::StepLimit;

use crate::balance::Tried;
use crate::state::Now;
use crate::sticky::Sticky;
use crate::{
    Attempt, Availability, Better, Definition, Group, Groups, LeastTime, Method, Selection,
    ServerSpec, Until,
};

/// A request that brings one value, which all of its variables have.
struct Request {
    value: String,
    client: Client,
}

impl Session for Request {
    fn variable(&mut self, _: VariableId, out: &mut Vec<u8>) -> bool {
        out.extend_from_slice(self.value.as_bytes());
        true
    }

    fn capture(&mut self, _: usize, _: &mut Vec<u8>) -> bool {
        false
    }

    fn matches(&mut self, _: &NamedPattern, _: &[u8]) -> Result<bool, StepLimit> {
        Ok(false)
    }

    fn client(&self) -> Client {
        self.client
    }
}

fn request(value: &str) -> Request {
    Request { value: value.to_owned(), client: Client::Unix }
}

fn from(ip: &str) -> Request {
    let ip: IpAddr = ip.parse().unwrap();
    Request { value: String::new(), client: SocketAddr::new(ip, 1).into() }
}

/// The value itself, as `$arg_k` would be.
fn key() -> Script {
    let span = {
        let (mut files, mut diagnostics) = Default::default();
        let root = daemun_conf::Root::Embedded { name: "test".into(), text: b"a;".to_vec() };
        let folder = std::path::Path::new("/");
        daemun_conf::parse(root, folder, &mut files, &mut diagnostics).directives[0].span
    };
    Script::compile(b"$arg_k", span, &mut Default::default()).unwrap()
}

fn server(port: u16, weight: u32) -> ServerSpec {
    let address = Address::Ip(([127, 0, 0, 1], 18080 + port).into());
    ServerSpec { weight, ..ServerSpec::new(address.to_string(), vec![address]) }
}

/// Weights 3, 2 and 1; the second one is down where that is asked for.
fn servers(second: Availability) -> Vec<ServerSpec> {
    let second = ServerSpec { availability: second, ..server(2, 2) };
    vec![server(1, 3), second, server(3, 1)]
}

fn group(definition: Definition) -> Arc<Group> {
    let mut groups = Groups::default();
    let id = groups.add(Group::explicit("test".to_owned(), definition));
    Arc::clone(groups.of(id))
}

fn with(method: Method, servers: Vec<ServerSpec>) -> Arc<Group> {
    group(Definition { method: Some(method), servers, ..Definition::default() })
}

fn at(millis: u64) -> Now {
    Now::after(Duration::from_millis(1_000_000 + millis))
}

fn ask(group: &Arc<Group>, mut request: Request) -> (char, Selection) {
    let mut selection = group.select();
    selection.begin(&mut request);
    let peer = selection.choose(at(0));
    let digit = peer.map_or('-', |peer| peer.name.chars().last().unwrap());
    (digit, selection)
}

fn choices(group: &Arc<Group>, requests: impl Iterator<Item = Request>) -> String {
    requests.map(|request| ask(group, request).0).collect()
}

fn keys() -> impl Iterator<Item = Request> {
    (0..40).map(|number| request(&format!("key{number}")))
}

#[test]
fn turns_are_taken_by_weight() {
    let definition = Definition { servers: servers(Availability::Up), ..Definition::default() };
    let eighteen = std::iter::repeat_with(|| request("")).take(18);
    assert_eq!(choices(&group(definition), eighteen), "121321121321121321");
    let group = with(Method::LeastConn, servers(Availability::Up));
    let eighteen = std::iter::repeat_with(|| request("")).take(18);
    assert_eq!(choices(&group, eighteen), "121321121321121321");
}

#[test]
fn keys_hash_as_in_nginx() {
    let hash = || Method::Hash { key: key(), consistent: false };
    let expected = "3222132211212311111211322312121313113112";
    assert_eq!(choices(&with(hash(), servers(Availability::Up)), keys()), expected);
    let expected = "3131133311111311111111311311111313113111";
    assert_eq!(choices(&with(hash(), servers(Availability::Down)), keys()), expected);
}

#[test]
fn keys_hash_consistently_as_in_nginx() {
    let hash = || Method::Hash { key: key(), consistent: true };
    let expected = "3133111132132123321222211113211111121223";
    assert_eq!(choices(&with(hash(), servers(Availability::Up)), keys()), expected);
    let expected = "3133111131131113311313111113111111111113";
    assert_eq!(choices(&with(hash(), servers(Availability::Down)), keys()), expected);
}

#[test]
fn clients_hash_as_in_nginx() {
    let v4 = || (0..40).map(|number| from(&format!("10.{number}.{}.1", number * 7 % 256)));
    let v6 = || (0..40).map(|number| from(&format!("2001:db8::{number:x}")));
    let all = with(Method::IpHash, servers(Availability::Up));
    assert_eq!(choices(&all, v4()), "2222222222222222222222222222222111111222");
    assert_eq!(choices(&all, v6()), "1122311122311122311122311122311122311122");
    let two = with(Method::IpHash, servers(Availability::Down));
    assert_eq!(choices(&two, v4()), "1113111113113131111311131311313111111113");
    assert_eq!(choices(&two, v6()), "1111311113311131311111311111311131311111");
}

#[test]
fn an_empty_key_takes_turns() {
    for consistent in [false, true] {
        let group = with(Method::Hash { key: key(), consistent }, vec![server(1, 1), server(2, 1)]);
        let four = std::iter::repeat_with(|| request("")).take(4);
        assert_eq!(choices(&group, four), "1212");
    }
}

#[test]
fn the_fewest_connections_for_the_weight_win() {
    let group = with(Method::LeastConn, vec![server(1, 2), server(2, 1)]);
    let open: Vec<_> = (0..6).map(|_| ask(&group, request(""))).collect();
    let digits: String = open.iter().map(|(digit, _)| *digit).collect();
    assert_eq!(digits.matches('1').count(), 4, "{digits}");
    drop(open);
    assert_eq!(ask(&group, request("")).0, '1');
}

#[test]
fn the_fastest_peer_wins() {
    let how = LeastTime { until: Until::Header, inflight: false };
    let group = with(Method::LeastTime(how), vec![server(1, 1), server(2, 1)]);
    let answer = |expected: char, took: u64| {
        let (digit, mut selection) = ask(&group, request(""));
        assert_eq!(digit, expected);
        selection.note_head(at(took));
        selection.release(Attempt::Good, at(took));
    };
    answer('1', 200);
    answer('2', 30);
    for _ in 0..5 {
        answer('2', 35);
    }
    // failures say nothing about how fast a peer is
    let (_, mut selection) = ask(&group, request(""));
    selection.release(Attempt::Next, at(5000));
    answer('2', 30);
}

#[test]
fn waiting_requests_count_where_they_are_to() {
    let how = LeastTime { until: Until::LastByte, inflight: true };
    let group = with(Method::LeastTime(how), vec![server(1, 1), server(2, 1)]);
    let first = ask(&group, request(""));
    let mut second = group.select();
    second.begin(&mut request(""));
    let name = Arc::clone(&second.choose(at(4000)).unwrap().name);
    assert!(first.0 == '1' && name.ends_with('2'));
    drop(second);
    let mut third = group.select();
    third.begin(&mut request(""));
    assert!(third.choose(at(4000)).unwrap().name.ends_with('2'));
}

#[test]
fn random_peers_follow_their_weights() {
    for two in [None, Some(Better::LeastConn)] {
        let group = with(Method::Random { two }, servers(Availability::Up));
        let requests = std::iter::repeat_with(|| request("")).take(3000);
        let chosen = choices(&group, requests);
        let share = |digit: char| chosen.matches(digit).count();
        assert!(share('1') > share('3') && share('2') > share('3') && share('3') > 0, "{two:?}");
        let down = with(Method::Random { two }, servers(Availability::Down));
        let requests = std::iter::repeat_with(|| request("")).take(100);
        assert!(!choices(&down, requests).contains('2'));
    }
}

#[test]
fn the_better_one_of_two_has_fewer_connections() {
    let method = Method::Random { two: Some(Better::LeastConn) };
    let group = with(method, vec![server(1, 1), server(2, 1)]);
    let open: Vec<_> = (0..10).map(|_| ask(&group, request(""))).collect();
    let first = open.iter().filter(|(digit, _)| *digit == '1').count();
    assert_eq!(first, 5);
}

#[test]
fn sessions_stay_with_their_peer() {
    let route =
        |server: ServerSpec, route: &str| ServerSpec { route: Some(route.to_owned()), ..server };
    let servers =
        vec![route(server(1, 1), "a"), route(server(2, 1), "b"), route(server(3, 1), "c")];
    let lookup = vec![VariableId(0)];
    let sticky = Some(Sticky::Told { lookup, tell: None });
    let group = group(Definition { servers, sticky, ..Definition::default() });
    let requests = "--a-a-aa--bb--c--a---".chars();
    let requests = requests.map(|route| match route {
        '-' => request(""),
        route => request(&route.to_string()),
    });
    assert_eq!(choices(&group, requests), "121312113222313121323");
}

#[test]
fn a_draining_peer_takes_its_own_requests_only() {
    let draining = ServerSpec {
        availability: Availability::Draining,
        route: Some("a".to_owned()),
        ..server(1, 1)
    };
    let sticky = Some(Sticky::Told { lookup: vec![VariableId(0)], tell: None });
    let servers = vec![draining.clone(), server(2, 1)];
    let both = group(Definition { servers, sticky: sticky.clone(), ..Definition::default() });
    let requests = ["", "a", "", "a", "x"].map(request);
    assert_eq!(choices(&both, requests.into_iter()), "21212");
    let alone = group(Definition { servers: vec![draining], sticky, ..Definition::default() });
    assert_eq!(choices(&alone, ["", "a"].map(request).into_iter()), "-1");
}

#[test]
fn a_peer_without_a_route_has_the_hash_of_its_name() {
    let sticky = Some(Sticky::Told { lookup: vec![VariableId(0)], tell: None });
    let servers = vec![server(1, 1), server(2, 1)];
    let group = group(Definition { servers, sticky, ..Definition::default() });
    let id = "4900f59d6c4a944fb53a6d384b54b275"; // of "127.0.0.1:18082"
    let requests = std::iter::repeat_with(|| request(id)).take(3);
    assert_eq!(choices(&group, requests), "222");
}

#[test]
fn a_peer_that_recovers_starts_slowly() {
    let slow = ServerSpec { slow_start: Duration::from_secs(100), ..server(1, 1) };
    let group = group(Definition { servers: vec![slow, server(2, 1)], ..Definition::default() });
    let mut selection = group.select();
    selection.choose(at(0)).unwrap();
    assert!(selection.release(Attempt::Failed, at(0)));
    let share = |from: u64| {
        let seconds = from..from + 5;
        let times = seconds.flat_map(|second| (0..20).map(move |part| second * 1000 + part * 50));
        let chosen = times.filter(|time| {
            let mut selection = group.select();
            let peer = selection.choose(at(*time)).unwrap();
            selection.release(Attempt::Good, at(*time));
            peer.name.ends_with('1')
        });
        chosen.count()
    };
    assert_eq!(share(1), 0, "it is disabled");
    let (early, late, whole) = (share(12), share(60), share(200));
    assert!((1..15).contains(&early), "{early}");
    assert!(early < late && late < whole, "{early} {late} {whole}");
    assert_eq!(whole, 50);
}

#[test]
fn what_was_tried_is_remembered_for_any_number_of_peers() {
    let mut tried = Tried::default();
    for place in [0, 63, 64, 200] {
        assert!(!tried.has(place));
        tried.insert(place);
        assert!(tried.has(place) && !tried.has(place + 1));
    }
    tried.remove(64);
    tried.remove(1000);
    assert!(tried.has(0) && tried.has(200) && !tried.has(64));
    tried.clear();
    assert!(!tried.has(0) && !tried.has(200));
}
