//! temp
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cidr(u32);
impl<'d> serde::Deserialize<'d> for Cidr { fn deserialize<D: serde::Deserializer<'d>>(d:D)->Result<Self,D::Error>{ let _=String::deserialize(d)?; Ok(Cidr(0))}}
