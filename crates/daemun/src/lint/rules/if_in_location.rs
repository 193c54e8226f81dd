//! `if` in a location, with more than `return` and `rewrite`.

use daemun_conf::Directive;

use crate::lint::{Example, Finding, Rule, Scope, Site};

pub(super) static RULE: Rule = Rule {
    code: "if-in-location",
    explanation: "an \"if\" whose condition holds takes the location's place: of several only the last one counts, \
                  and try_files and the like of the location do not",
    find,
};

/// What an `if` may hold without becoming the request's location in earnest.
const STEPS: &[&str] = &["return", "rewrite", "set", "break"];

fn find(site: &Site<'_>) -> Vec<Finding> {
    let blocks = site.outline.blocks("if");
    let in_location =
        |scope: &Scope<'_>| scope.outer().is_some_and(|outer| outer.name() == "location");
    blocks.filter(in_location).filter_map(look_at).collect()
}

fn look_at(block: Scope<'_>) -> Option<Finding> {
    let loses_try_files = block.outer()?.has("try_files");
    let steps = block.directives();
    let is_step = |directive: &Directive| STEPS.iter().any(|step| directive.name == **step);
    if steps.iter().all(is_step) && (!loses_try_files || steps.iter().any(leaves)) {
        return None;
    }
    let other = steps.iter().find(|directive| !is_step(directive));
    let directive = other.or(steps.first())?;
    let name = &directive.name;
    let effect = match loses_try_files {
        true => "is answered without the location's try_files".to_owned(),
        false => format!("has {name} from this block, and nothing from another \"if\" before it"),
    };
    let example = Example::into(block).meeting(block).shows(effect);
    let message = format!("\"{name}\" in an \"if\" of a location");
    Some(Finding { message, span: directive.span, example })
}

/// Whether the request never goes on in the block.
fn leaves(directive: &Directive) -> bool {
    let flag = directive.args.get(2);
    directive.name == "return"
        || (directive.name == "rewrite" && flag.is_some_and(|flag| *flag != "break"))
}

#[cfg(test)]
mod tests {
    use crate::lint::testing::check;

    #[test]
    fn steps_that_leave_are_fine() {
        let server = |inside: &str| {
            format!("server {{ listen 8080; root /srv; location / {{ {inside} }} }}")
        };
        let good = server(
            "if ($arg_old) { return 301 /new; } if ($arg_x) { set $a b; rewrite ^ /other last; }",
        );
        let plain = server("if ($arg_x) { set $a b; }");
        check("if-in-location", &server("if ($arg_x) { expires 1h; }"), &good);
        check("if-in-location", &server("try_files $uri =404; if ($arg_x) { set $a b; }"), &plain);
    }
}
