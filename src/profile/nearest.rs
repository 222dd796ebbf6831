//! What a person may have meant by a name that is not there.

/// How many names are shown at most.
const MOST: usize = 3;

/// The names that are nearest: the same but for the case, else with the fewest letters changed, where that is
/// at most one in three, else those that hold the name.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', ' '], "-");
    let name = plain(name);
    let far = name.chars().count() / 3;
    let distance = |other: &str| strsim::osa_distance(&name, &plain(other));
    let least = known.clone().map(distance).min().filter(|least| *least <= far);
    let is_near = |other: &&str| match least {
        Some(least) => distance(other) == least,
        None => name.len() > 2 && plain(other).contains(&name),
    };
    known.filter(is_near).take(MOST).collect()
}

/// `: did you mean a or b?`, or nothing where no name is near.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(name, known)[..] {
        [] => String::new(),
        [one] => format!(": did you mean {one}?"),
        [ref some @ .., last] => format!(": did you mean {} or {last}?", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_meant() {
        let known = ["generic", "jetson-orin", "jetson-xavier", "rpi3", "rpi4", "rpi5"];
        let said = |name: &str| did_you_mean(name, known.into_iter());
        for (name, wanted) in [
            ("RPI4", ": did you mean rpi4?"),
            ("pri4", ": did you mean rpi4?"),
            ("rpi-4", ": did you mean rpi4?"),
            ("jetson_orin", ": did you mean jetson-orin?"),
            ("jetson", ": did you mean jetson-orin or jetson-xavier?"),
            ("rpi", ": did you mean rpi3, rpi4 or rpi5?"),
            ("vehicle", ""),
            ("x", ""),
            ("", ""),
        ] {
            assert_eq!(said(name), wanted, "{name}");
        }
    }
}
