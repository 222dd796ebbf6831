//! The floor that `edgeprep check` is measured against: opens and reads the files and directories named
//! in the file given as its argument, one to a line, and does nothing else.

use std::io::Read;

fn main() {
    let list = std::env::args().nth(1).expect("a file with one path to a line");
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    for path in std::fs::read_to_string(list).expect("the list").lines() {
        if let Ok(entries) = std::fs::read_dir(path) {
            total += entries.count();
        } else if let Ok(mut file) = std::fs::File::open(path) {
            while let Ok(n @ 1..) = file.read(&mut buffer) {
                total += n;
            }
        }
    }
    std::process::exit(i32::from(total == 0));
}
