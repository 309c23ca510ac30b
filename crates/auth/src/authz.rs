//! May the user do this: what is asked, and who is asked about it.

mod attributes;
mod review;

pub(crate) use self::{
    attributes::attributes,
    review::{Opinion, Review},
};
