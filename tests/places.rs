//! Places of a test's own for what its configuration leaves to the built-in defaults, which are the whole system's:
//! another server has them, or the user may not write there.

const FOLDERS: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// Adds what is missing, on lines that are there already: the numbers of lines stay.
pub fn with_places(text: &str) -> String {
    let has = |directive: &str| {
        let is_apart = |letter: char| letter.is_whitespace() || ";{}".contains(letter);
        text.split(is_apart).any(|word| word == directive)
    };
    let mut inside = String::new();
    if !has("access_log") {
        inside += " access_log {dir}/access.log;";
    }
    for folder in FOLDERS {
        let directive = format!("{folder}_temp_path");
        if !has(&directive) {
            // Listings leave out names that begin with a dot.
            inside += &format!(" {directive} {{dir}}/.{folder};");
        }
    }
    let text = text.replacen("http {", &format!("http {{{inside}"), 1);
    if has("pid") { text } else { format!("pid {{dir}}/server.pid; {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_gets_a_place_on_the_same_line() {
        let text = with_places("events { }\nhttp {\n    access_log off; return 200 $pid;\n}\n");
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.starts_with("pid {dir}/server.pid; events { }\nhttp { client_body_temp_path ")
        );
        assert!(text.contains(" scgi_temp_path {dir}/.scgi;\n    access_log off;"), "{text}");
    }

    #[test]
    fn what_is_named_is_left_alone() {
        let text = "pid {dir}/p; http { access_log off; client_body_temp_path a; proxy_temp_path b;
            fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e; }";
        assert_eq!(with_places(text), text);
    }
}
