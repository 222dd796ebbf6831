//! Which filters of `config.txt` a board passes, by what its device tree calls it.

/// Model filters that the firmware knows. A filter that it does not know is no filter to it, so
/// which these are matters (raspberrypi.com, "config.txt", "Model filters"; raspberrypi/firmware
/// issue 1839).
const MODEL_FILTERS: [&str; 14] = [
    "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3", "pi3+", "pi4", "pi400", "cm4", "cm4s", "pi5", "pi500", "cm5",
];

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
    pub(super) fn of<'a>(compatible: impl IntoIterator<Item = &'a str>) -> Option<Board> {
        let name = compatible.into_iter().find_map(|name| name.strip_prefix("raspberrypi,"))?;
        let (filters, types): (&[&str], &[u32]) = match name {
            "model-a" => (&["pi1"], &[0x00]),
            "model-b" | "model-b-i2c0" | "model-b-rev2" => (&["pi1"], &[0x01]),
            "model-a-plus" => (&["pi1"], &[0x02]),
            "model-b-plus" => (&["pi1"], &[0x03]),
            "compute-module" => (&["pi1"], &[0x06]),
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

    /// Whether the board passes a model filter; `None` for a name that is none.
    pub(super) fn model(board: Option<Board>, filter: &str) -> Option<Truth> {
        if !MODEL_FILTERS.contains(&filter) {
            return None;
        }
        Some(match board {
            None => Truth::Maybe,
            Some(board) if board.filters.contains(&filter) => Truth::Yes,
            Some(_) => Truth::No,
        })
    }

    /// Whether the board passes `[board-type=0x14]`.
    pub(super) fn board_type(board: Option<Board>, number: &str) -> Truth {
        let number = number.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
        match (board, number) {
            (Some(board), Some(number)) if !board.types.contains(&number) => Truth::No,
            (Some(board), Some(_)) if board.types.len() == 1 => Truth::Yes,
            _ => Truth::Maybe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_board_passes_the_filters_of_its_family() {
        let passed = |compatible: &[&str]| {
            let board = Board::of(compatible.iter().copied());
            assert!(board.is_some(), "{compatible:?}");
            let yes = |filter: &&&str| Board::model(board, filter) == Some(Truth::Yes);
            MODEL_FILTERS.iter().filter(yes).copied().collect::<Vec<_>>()
        };
        assert_eq!(passed(&["raspberrypi,4-model-b", "brcm,bcm2711"]), ["pi4"]);
        assert_eq!(passed(&["raspberrypi,400", "brcm,bcm2711"]), ["pi4", "pi400"]);
        assert_eq!(passed(&["raspberrypi,4-compute-module", "brcm,bcm2711"]), ["pi4", "cm4"]);
        assert_eq!(passed(&["raspberrypi,5-model-b", "brcm,bcm2712"]), ["pi5"]);
        assert_eq!(passed(&["raspberrypi,3-model-b-plus", "brcm,bcm2837"]), ["pi3", "pi3+"]);
        assert_eq!(passed(&["raspberrypi,model-zero-2-w", "brcm,bcm2837"]), ["pi0", "pi0w", "pi02"]);
        assert_eq!(Board::of(["radxa,rock-5b"]), None);
        assert_eq!(Board::of(["raspberrypi,6-model-b"]), None);
        assert_eq!(Board::model(None, "pi4"), Some(Truth::Maybe));
        assert_eq!(Board::model(Board::of(["raspberrypi,4-model-b"]), "pi6"), None);
    }

    #[test]
    fn a_type_is_that_of_the_revision_code() {
        let of = |name, number| Board::board_type(Board::of([name]), number);
        assert_eq!(of("raspberrypi,4-compute-module", "0x14"), Truth::Yes);
        assert_eq!(of("raspberrypi,4-compute-module", "0x11"), Truth::No);
        assert_eq!(of("raspberrypi,5-compute-module", "0x18"), Truth::Maybe);
        assert_eq!(of("raspberrypi,4-compute-module", "twenty"), Truth::Maybe);
        assert_eq!(Board::board_type(None, "0x14"), Truth::Maybe);
    }
}
