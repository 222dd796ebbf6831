//! temp
pub struct User { pub name: String, pub uid: u32, pub gid: u32, pub home: String, pub groups: Vec<u32> }
