//! The name that was probably meant.

/// The candidate that is the fewest slips away from `name`, if it is near enough to be a misspelling of it. A slip is a
/// letter too many, too few, wrong, or swapped with its neighbour; one slip is allowed for every three letters.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= allowed)
        .map(|candidate| (distance(name.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|&(slips, _)| slips <= allowed)
        .min_by_key(|&(slips, _)| slips)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance: Levenshtein's with swapped neighbours as one step.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &other) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(letter != other);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && letter == b[j - 1] && a[i - 1] == other {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 7] =
        ["server", "server_name", "listen", "root", "return", "location", "proxy_pass"];

    #[track_caller]
    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(suggest(name, NAMES), expected, "{name}");
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        check("sevrer", Some("server"));
        check("server_nam", Some("server_name"));
        check("lisen", Some("listen"));
        check("rot", Some("root"));
        check("proxypass", Some("proxy_pass"));
    }

    #[test]
    fn what_is_far_from_every_name_gets_no_suggestion() {
        check("gzip", None);
        check("x", None);
        check("", None);
        check("completely_different", None);
    }
}
