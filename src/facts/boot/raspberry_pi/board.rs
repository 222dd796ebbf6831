//! Which filters of `config.txt` a board passes, by what its device tree calls it.

/// Model filters that the firmware knows. A filter that it does not know is no filter to it, so
/// which these are matters (raspberrypi.com, "config.txt", "Model filters"; raspberrypi/firmware
/// issue 1839).
const MODEL_FILTERS: [&str; 18] = [
    "pi0", "pi0w", "pi02", "cm0", "pi1", "cm1", "pi2", "pi3", "pi3+", "cm3", "cm3+", "pi4", "pi400", "cm4",
    "cm4s", "pi5", "pi500", "cm5",
];
/// Filters that a board may pass: the device tree of a Compute Module 3 is that of a 3+, and which
/// others a filter of newer firmware includes is not documented.
const UNSURE: [(&str, &[u32]); 3] = [("cm0", &[0x12]), ("cm3", &[0x0a, 0x10]), ("cm3+", &[0x0a, 0x10])];

/// A model as the firmware sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Board {
    /// The model filters that it passes.
    filters: &'static [&'static str],
    /// The types that its revision code can have.
    types: &'static [u32],
}

/// What is known of whether something holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Maybe,
}

impl Truth {
    pub(super) fn and(self, other: Truth) -> Truth {
        match (self, other) {
            (Truth::No, _) | (_, Truth::No) => Truth::No,
            (Truth::Yes, Truth::Yes) => Truth::Yes,
            _ => Truth::Maybe,
        }
    }
}

impl Board {
    /// The board that a device tree names (Linux:
    /// `Documentation/devicetree/bindings/arm/bcm2835.yaml`; raspberrypi/linux:
    /// `arch/arm/boot/dts/broadcom`), with its types (raspberrypi.com, "Revision codes").
    fn of<'a>(compatible: impl IntoIterator<Item = &'a str>) -> Option<Board> {
        let name = compatible.into_iter().find_map(|name| name.strip_prefix("raspberrypi,"))?;
        let (filters, types): (&[&str], &[u32]) = match name {
            "model-a" => (&["pi1"], &[0x00]),
            "model-b" | "model-b-i2c0" | "model-b-rev2" => (&["pi1"], &[0x01]),
            "model-a-plus" => (&["pi1"], &[0x02]),
            "model-b-plus" => (&["pi1"], &[0x03]),
            "compute-module" => (&["cm1", "pi1"], &[0x06]),
            "model-zero" => (&["pi0"], &[0x09]),
            "model-zero-w" => (&["pi0w", "pi0"], &[0x0c]),
            "model-zero-2" | "model-zero-2-w" => (&["pi02", "pi0w", "pi0"], &[0x12]),
            "2-model-b" | "2-model-b-rev2" => (&["pi2"], &[0x04]),
            "3-model-b" => (&["pi3"], &[0x08]),
            "3-model-b-plus" => (&["pi3+", "pi3"], &[0x0d]),
            "3-model-a-plus" => (&["pi3+", "pi3"], &[0x0e]),
            "3-compute-module" | "3-compute-module-plus" => (&["pi3"], &[0x0a, 0x10]),
            "4-model-b" => (&["pi4"], &[0x11]),
            "400" => (&["pi400", "pi4"], &[0x13]),
            "4-compute-module" => (&["cm4", "pi4"], &[0x14]),
            "4-compute-module-s" => (&["cm4s", "pi4"], &[0x15]),
            "5-model-b" => (&["pi5"], &[0x17]),
            "500" => (&["pi500", "pi5"], &[0x19]),
            "5-compute-module" => (&["cm5", "pi5"], &[0x18, 0x1a]),
            _ => return None,
        };
        Some(Board { filters, types })
    }

    fn passes(&self, filter: &str) -> Truth {
        let unsure = |(name, types): &(&str, &[u32])| {
            *name == filter && types.iter().any(|each| self.types.contains(each))
        };
        match self.filters.contains(&filter) {
            true => Truth::Yes,
            false if UNSURE.iter().any(unsure) => Truth::Maybe,
            false => Truth::No,
        }
    }

    fn has_type(&self, number: u32) -> Truth {
        match self.types {
            types if !types.contains(&number) => Truth::No,
            [_] => Truth::Yes,
            _ => Truth::Maybe,
        }
    }
}

/// The boards that this can be: one that runs, those of a profile, or, where there are none, any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Boards(Vec<Board>);

impl Boards {
    /// The one that a device tree names.
    pub(super) fn running<'a>(compatible: impl IntoIterator<Item = &'a str>) -> Boards {
        Boards(Board::of(compatible).into_iter().collect())
    }

    /// Those that a profile is for: each of `names` is a board of its own. With one that is not known it can
    /// be any.
    pub(super) fn of_profile(names: &[String]) -> Boards {
        let boards: Option<Vec<Board>> = names.iter().map(|name| Board::of([name.as_str()])).collect();
        Boards(boards.unwrap_or_default())
    }

    /// Whether the board passes a model filter; `None` for a name that is none.
    pub(super) fn model(&self, filter: &str) -> Option<Truth> {
        MODEL_FILTERS.contains(&filter).then(|| self.all(|board| board.passes(filter)))
    }

    /// Whether the board passes `[board-type=0x14]`.
    pub(super) fn board_type(&self, number: &str) -> Truth {
        let number = number.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
        number.map_or(Truth::Maybe, |number| self.all(|board| board.has_type(number)))
    }

    /// What holds for all of them.
    fn all(&self, holds: impl Fn(&Board) -> Truth) -> Truth {
        let same = |one: Truth, other: Truth| if one == other { one } else { Truth::Maybe };
        self.0.iter().map(holds).reduce(same).unwrap_or(Truth::Maybe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_passes_the_filters_of_its_family() {
        let passed = |compatible: &[&str]| {
            let boards = Boards::running(compatible.iter().copied());
            assert!(!boards.0.is_empty(), "{compatible:?}");
            let yes = |filter: &&&str| boards.model(filter) == Some(Truth::Yes);
            MODEL_FILTERS.iter().filter(yes).copied().collect::<Vec<_>>()
        };
        assert_eq!(passed(&["raspberrypi,4-model-b", "brcm,bcm2711"]), ["pi4"]);
        assert_eq!(passed(&["raspberrypi,400", "brcm,bcm2711"]), ["pi4", "pi400"]);
        assert_eq!(passed(&["raspberrypi,4-compute-module", "brcm,bcm2711"]), ["pi4", "cm4"]);
        assert_eq!(passed(&["raspberrypi,5-model-b", "brcm,bcm2712"]), ["pi5"]);
        assert_eq!(passed(&["raspberrypi,3-model-b-plus", "brcm,bcm2837"]), ["pi3", "pi3+"]);
        assert_eq!(passed(&["raspberrypi,model-zero-2-w", "brcm,bcm2837"]), ["pi0", "pi0w", "pi02"]);
        assert_eq!(passed(&["raspberrypi,compute-module", "brcm,bcm2835"]), ["pi1", "cm1"]);
        let cm3 = Boards::running(["raspberrypi,3-compute-module"]);
        for filter in ["cm3", "cm3+"] {
            assert_eq!(cm3.model(filter), Some(Truth::Maybe));
            assert_eq!(Boards::running(["raspberrypi,3-model-b"]).model(filter), Some(Truth::No));
        }
        assert_eq!(Board::of(["radxa,rock-5b"]), None);
        assert_eq!(Board::of(["raspberrypi,6-model-b"]), None);
        assert_eq!(Boards::default().model("pi4"), Some(Truth::Maybe));
        assert_eq!(Boards::running(["raspberrypi,4-model-b"]).model("pi6"), None);
    }

    /// An image has no device tree, and its profile is for a family.
    #[test]
    fn what_holds_for_all_boards_of_a_profile_holds() {
        let profile = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| format!("raspberrypi,{name}")).collect();
            Boards::of_profile(&names)
        };
        let rpi4 = profile(&["4-model-b", "400", "4-compute-module"]);
        for (filter, holds) in [("pi4", Truth::Yes), ("pi400", Truth::Maybe), ("pi5", Truth::No)] {
            assert_eq!(rpi4.model(filter), Some(holds), "{filter}");
        }
        assert_eq!(rpi4.board_type("0x11"), Truth::Maybe);
        assert_eq!(rpi4.board_type("0x17"), Truth::No);
        assert_eq!(profile(&["4-model-b", "9-model-z"]).model("pi5"), Some(Truth::Maybe));
        assert_eq!(profile(&[]).model("pi4"), Some(Truth::Maybe));
    }

    #[test]
    fn a_type_is_that_of_the_revision_code() {
        let of = |name, number| Boards::running([name]).board_type(number);
        assert_eq!(of("raspberrypi,4-compute-module", "0x14"), Truth::Yes);
        assert_eq!(of("raspberrypi,4-compute-module", "0x11"), Truth::No);
        assert_eq!(of("raspberrypi,5-compute-module", "0x18"), Truth::Maybe);
        assert_eq!(of("raspberrypi,4-compute-module", "twenty"), Truth::Maybe);
        assert_eq!(Boards::default().board_type("0x14"), Truth::Maybe);
    }
}
