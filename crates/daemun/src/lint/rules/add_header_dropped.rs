//! `add_header` in a block whose outer block has some too.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "add-header-dropped",
    explanation: "a block that has an add_header of its own takes none from the block around it, unless \
                  add_header_inherit says merge",
    find,
};

fn find(site: &Site<'_>) -> Vec<Finding> {
    site.outline.scopes().filter_map(look_at).collect()
}

fn look_at(scope: Scope<'_>) -> Option<Finding> {
    let first = scope.all("add_header").next()?;
    let inherits = scope.value("add_header_inherit");
    if inherits.is_some_and(|mode| *mode == "merge" || *mode == "off") {
        return None;
    }
    let outer = scope.outer()?.in_force(&["add_header"]);
    let is_repeated =
        |outer: &Directive| scope.all("add_header").any(|own| name(own) == name(outer));
    let mut lost: Vec<String> =
        outer.into_iter().filter(|outer| !is_repeated(outer)).map(name).collect();
    lost.dedup();
    if lost.is_empty() {
        return None;
    }
    let lost = lost.join(", ");
    let example = Example::into(scope).shows(format!("is answered without {lost}"));
    let message = format!("this add_header drops what the outer block adds: {lost}");
    Some(Finding { message, span: first.span, example })
}

fn name(addition: &Directive) -> String {
    addition.args.first().map(|word| word.to_str_lossy().to_ascii_lowercase()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn what_the_outer_block_adds_is_repeated_or_merged() {
        let server = |inside: &str| {
            format!(
                "server {{ listen 8080; root /srv; add_header A a; add_header B b;
                     location /x/ {{ {inside} }} }}"
            )
        };
        let bad = server("add_header C c;");
        check("add-header-dropped", &bad, &server("expires 1h;"));
        check("add-header-dropped", &bad, &server("add_header a 1; add_header B 2;"));
        check("add-header-dropped", &bad, &server("add_header_inherit merge; add_header C c;"));
    }
}
