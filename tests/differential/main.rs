//! The same configuration and the same bytes to Debian's nginx and to daemun: the answers are the same, save for
//! the differences that [`differences`] lists.
//!
//! `DAEMUN_JUDGE` names another nginx to compare with.

mod behind;
mod cases;
mod data;
mod differences;
mod normal;

use std::collections::HashSet;
use std::net::Shutdown;

use cases::Case;
use daemun_tests::{Client, Folder, Server, Setup};
use differences::DIFFERENCES;

const NGINX: &str = "/usr/sbin/nginx";

#[test]
fn site() {
    compare("site", include_str!("site.conf"), cases::site());
}

#[test]
fn echo() {
    compare("echo", include_str!("echo.conf"), cases::echo());
}

#[test]
fn limits() {
    compare("limits", include_str!("limits.conf"), cases::limits());
}

#[test]
fn rules() {
    compare("rules", include_str!("rules.conf"), cases::rules());
}

#[test]
fn rewriting() {
    compare("rewriting", include_str!("rewriting.conf"), cases::rewriting());
}

#[test]
fn clients() {
    compare("clients", include_str!("clients.conf"), cases::clients());
}

#[test]
fn filters() {
    compare("filters", include_str!("filters.conf"), cases::filters());
}

#[test]
fn responses() {
    let [http, scgi] = [data::HTTP_RESPONSES, data::CGI_RESPONSES].map(data::lines);
    let cases = cases::responses(&http, &scgi);
    let text = include_str!("responses.conf")
        .replace("{http}", &behind::http(http).to_string())
        .replace("{scgi}", &behind::scgi(scgi).to_string());
    compare("responses", &text, cases);
}

/// Asks both servers everything, and fails with all that differs unlisted or is listed and does not differ.
fn compare(configuration: &str, text: &str, cases: Vec<Case>) {
    let (nginx, daemun) = (start(judge(), text), start("nginx", text));
    let listed = listed(configuration);
    let mut found = HashSet::new();
    let mut complaints = Vec::new();
    for case in &cases {
        let (expected, answered) = (ask(&nginx, &case.request), ask(&daemun, &case.request));
        if expected == answered {
            continue;
        }
        match listed.iter().find(|listed| case.is_called(listed)) {
            Some(name) => drop(found.insert(*name)),
            None => complaints
                .push(format!("{}\n--- nginx\n{expected}\n--- daemun\n{answered}\n", case.name)),
        }
    }
    for name in listed.iter().filter(|name| !found.contains(*name)) {
        complaints.push(match cases.iter().any(|case| case.is_called(name)) {
            true => format!("{name}: no longer differs"),
            false => format!("{name}: there is no such case"),
        });
    }
    assert!(
        complaints.is_empty(),
        "{} of {} cases:\n{}",
        complaints.len(),
        cases.len(),
        complaints.join("\n")
    );
    println!("{} cases", cases.len());
}

/// The names of the cases that differ.
fn listed(configuration: &str) -> Vec<&'static str> {
    let differences = DIFFERENCES.iter();
    let here = differences.filter(|difference| difference.configuration == configuration);
    here.flat_map(|difference| difference.cases.iter().copied()).collect()
}

fn judge() -> &'static str {
    static JUDGE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    JUDGE.get_or_init(|| std::env::var("DAEMUN_JUDGE").unwrap_or_else(|_| NGINX.to_owned()))
}

fn start(program: &'static str, text: &str) -> Server {
    let setup = Setup::new().called(program);
    fill(&setup.folder);
    setup.http(text)
}

/// `packed` and a line feed.
const PACKED: &[u8] = &[
    0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0x2b, 0x48, 0x4c, 0xce, 0x4e, 0x4d, 0xe1, 2, 0, 0x43, 0xe0,
    0x41, 0x2f, 7, 0, 0, 0,
];

const SSI_PAGE: &str = "1<!--#set var=\"mine\" value=\"<$arg_a>\" -->2<!--#echo var=\"mine\" -->\
    3<!--#echo var=\"mine\" encoding=\"none\" -->4<!--#include virtual=\"b.html?x=1\" -->\
    5<!--#include file=\"b.html\" -->6<!--#include virtual=\"/a.txt\" set=\"text\" -->7<!--#echo var=\"text\" -->\
    8<!--#include virtual=\"/ssi/b.html?x=$arg_b\" wait=\"yes\" -->9<!--# echo var='nobody' default='none' -->\
    <!--#echo var=\"arg_b\" encoding=\"url\" --><!--#config timefmt=\"%%\" --><!--#echo var=\"date_gmt\" -->";

const SSI_IF: &str = "<!--#if expr=\"$arg_a\" -->A<!--#if expr=\"x\" -->nested<!--#endif -->B<!--#elif expr='$arg_b = two' -->\
    C<!--#elif expr=\"$arg_c=/^(foo)(?P<tail>.*)/\" -->D<!--#echo var=\"1\" --><!--#echo var=\"tail\" -->\
    <!--#elif expr=\"$arg_b != three\" -->E<!--#else -->F<!--#endif -->G<!--#else -->H<!--#endif -->";

const SSI_ERRORS: &str = "<!--#what -->1<!--#echo -->2<!--#echo var=\"a\" var=\"b\" -->3<!--#echo val=\"a\" -->\
    4<!--#config errmsg=\"wrong\" --><!--#include -->5<!--#include virtual=\"/a\" file=\"/b\" -->\
    6<!--#include virtual=\"../x\" -->7<!--#include virtual=\"/%2e%2e/x\" -->8<!--#if expr=\"$arg_a ~ b\" -->\
    9<!--#echo var= -->10<!--#echo var=\"a\"b -->11<!--#endif -->12<!--#set var=\"x\" value=\"${open\" -->\
    13<!--#set var=\"x\" value=\"$\" -->14<!--#include virtual=\"/a.txt\" wait=\"maybe\" -->15<!--#a_command_with_a_very_very_long_name -->16";

const SSI_BLOCKS: &str = "<!--#block name=\"one\" -->stub <!--#echo var=\"uri\" --><!--#endblock -->\
    1<!--#include virtual=\"/ssi/empty\" stub=\"one\" -->2<!--#include virtual=\"/ssi/status\" stub=\"one\" -->\
    3<!--#include virtual=\"/a.txt\" stub=\"one\" -->4<!--#include virtual=\"/ssi/empty\" stub=\"two\" -->\
    5<!--#include virtual=\"/ssi/status\" -->6";

/// The same files with the same times for both.
fn fill(folder: &Folder) {
    let files = [
        ("index.html", "<h1>home</h1>\n"),
        ("a.txt", "0123456789abcdefghij"),
        ("404.html", "<h1>not here</h1>\n"),
        ("403.txt", "forbidden\n"),
        ("fallback.txt", "fallback\n"),
        ("empty.txt", ""),
        ("users", "ann:{PLAIN}one\nbob:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\ncid:sa3tHJ3/KuYvI\n"),
        ("with space.txt", "space\n"),
        ("per%cent.txt", "percent\n"),
        ("utf8.txt", "xа€бä\u{1f600} y"),
        ("broken.txt.gz", "no gzip at all"),
        ("ssi/page.html", SSI_PAGE),
        ("ssi/b.html", "[b <!--#echo var=\"arg_x\" --> <!--#echo var=\"mine\" -->]"),
        ("ssi/if.html", SSI_IF),
        ("ssi/errors.html", SSI_ERRORS),
        ("ssi/errors.txt", SSI_ERRORS),
        ("ssi/blocks.html", SSI_BLOCKS),
        ("ssi/nothing.html", "no command, <!-- a comment --> and <!- <!-- <!--"),
        (
            "ssi/missing.html",
            "<!--#include virtual=\"/ssi/none\" -->|<!--#include virtual=\"/ssi/named\" -->",
        ),
        ("folder/index.txt", "folder\n"),
        ("folder/b.gif", "gif\n"),
        ("private/secret.txt", "secret\n"),
        ("tried/index.html", "tried\n"),
        ("auto/one.txt", "1"),
        ("auto/two & three.txt", "23"),
        ("bare/file.txt", "no index here\n"),
        ("listed/big.bin", &"x".repeat(1_500_000)),
        ("listed/colon:name", "c"),
        ("listed/quote\"<&>'.txt", "q"),
        ("listed/umlaut-ä.txt", "u"),
        ("listed/folder/inside", "i"),
        ("listed/.hidden", "h"),
        ("listed/a-name-that-is-far-too-long-for-the-column-of-names-in-a-listing.txt", "long"),
    ];
    for (path, content) in files {
        folder.write(&format!("html/{path}"), content);
    }
    folder.write("html/koi8.txt", b"x\xc1\x80\xc2\xff y");
    folder.write("html/packed.txt.gz", PACKED);
    normal::set_times(&folder.path("html"));
}

/// Everything that comes back for these bytes, made comparable.
fn ask(server: &Server, request: &[u8]) -> String {
    let mut client: Client = server.client();
    client.send(request);
    // The end of the input is the end of a kept connection, too.
    let _ = client.stream().shutdown(Shutdown::Write);
    normal::form(&client.rest(), server)
}
