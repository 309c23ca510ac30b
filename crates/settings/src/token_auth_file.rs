//! Tokens and their users in a file: `--token-auth-file`.

use std::{collections::HashMap, fmt};

use aws_lc_rs::{hmac, rand::SystemRandom};
use go_compat::read_csv;
use request::User;

use crate::{Contents, Location, ParseError};

/// Who has which token, in the form of kube-apiserver: `token,user,uid,"group1,group2"` on each line.
pub struct TokenAuthFile {
    /// A secret of this value, so that a token can be neither read back nor aimed at.
    key: hmac::Key,
    users: HashMap<Vec<u8>, User>,
}

impl TokenAuthFile {
    /// Reads the lines, each of at least three columns; what follows the fourth is ignored, as there.
    ///
    /// # Errors
    ///
    /// A line has too few columns, an empty token or user, or a token that an earlier line has. kube-apiserver takes the
    /// last two.
    pub fn parse(contents: &[Contents]) -> Result<Self, ParseError> {
        let file = contents.first().ok_or_else(|| ParseError::new("a file of tokens is needed"))?;
        let wrong = |line: usize, why| ParseError::new(why).in_file(file.path()).at(Location { line: line as u64, column: 1 });
        let text = std::str::from_utf8(file.bytes()).map_err(|_| ParseError::new("it must be UTF-8 text").in_file(file.path()))?;
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| ParseError::new("the system gives no random bytes to hide the tokens with").in_file(file.path()))?;
        let mut read = Self { key, users: HashMap::new() };
        let mut rest = text;
        while !rest.trim_start_matches(['\r', '\n']).is_empty() {
            rest = rest.trim_start_matches(['\r', '\n']);
            let line = text.strip_suffix(rest).unwrap_or_default().matches('\n').count() + 1;
            // The error's own words count lines from the record's first, and may not be needed: the place is known.
            let record = read_csv(rest).map_err(|_| wrong(line, "the quotes of this line are not closed, or stand inside a column"))?;
            rest = record.rest;
            let mut columns = record.fields.into_iter();
            let (Some(token), Some(name), Some(uid)) = (columns.next(), columns.next(), columns.next()) else {
                return Err(wrong(line, "the line must have at least three columns: token,user,uid and then \"group1,group2\""));
            };
            if token.is_empty() || name.is_empty() {
                return Err(wrong(line, "the token and the user must not be empty"));
            }
            let groups = columns.next().filter(|groups| !groups.is_empty()).map(|groups| groups.split(',').map(str::to_owned).collect());
            let user = User { name, uid, groups: groups.unwrap_or_default(), ..User::default() };
            if read.users.insert(read.digest(&token), user).is_some() {
                return Err(wrong(line, "the token of this line is also an earlier line's: each must be one user's"));
            }
        }
        match read.users.is_empty() {
            true => Err(ParseError::new("there is no token in it: write token,user,uid,\"group1,group2\"").in_file(file.path())),
            false => Ok(read),
        }
    }

    /// Whose a token is. What it takes to find out does not depend on how much of a token is right.
    pub fn user(&self, token: &str) -> Option<&User> {
        self.users.get(&self.digest(token))
    }

    /// Everyone who has a token.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    fn digest(&self, token: &str) -> Vec<u8> {
        hmac::sign(&self.key, token.as_bytes()).as_ref().to_vec()
    }
}

impl fmt::Debug for TokenAuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthFile").field("users", &self.users.values()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: impl Into<Vec<u8>>) -> Result<TokenAuthFile, String> {
        TokenAuthFile::parse(&[Contents::new("t.csv", text)]).map_err(|error| error.to_string())
    }

    #[test]
    fn each_line_is_a_token_of_a_user() {
        let file = read("\nt1,alice,1,\"devs,ops\"\r\nt2,bob,\n\n\"t,3\",carol,3,devs,more\n").expect("tokens");
        let user = |name: &str, uid: &str, groups: &[&str]| User {
            name: name.into(),
            uid: uid.into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        assert_eq!(file.user("t1"), Some(&user("alice", "1", &["devs", "ops"])));
        assert_eq!(file.user("t2"), Some(&user("bob", "", &[])));
        assert_eq!(file.user("t,3"), Some(&user("carol", "3", &["devs"])));
        assert_eq!((file.user(""), file.user("t"), file.user("t1 "), file.users().count()), (None, None, None, 3));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line_and_no_token_is_repeated() {
        for (text, expected) in [
            ("", "t.csv: there is no token in it: write token,user,uid,\"group1,group2\""),
            ("hush,a,1\nhush2,b\n", "t.csv:2:1: the line must have at least three columns: token,user,uid and then \"group1,group2\""),
            ("hush,a,1\n\nhush,b,2\n", "t.csv:3:1: the token of this line is also an earlier line's: each must be one user's"),
            ("hush,a,1\n,b,2\n", "t.csv:2:1: the token and the user must not be empty"),
            ("hush,,2\n", "t.csv:1:1: the token and the user must not be empty"),
            ("hush,a,\"1\n", "t.csv:1:1: the quotes of this line are not closed, or stand inside a column"),
            ("hush\"x,a,1\n", "t.csv:1:1: the quotes of this line are not closed, or stand inside a column"),
        ] {
            assert_eq!(read(text).expect_err("refused"), expected, "{text:?}");
        }
        assert_eq!(read([0xff]).expect_err("refused"), "t.csv: it must be UTF-8 text");
        assert!(!format!("{:?}", read("hush,alice,1")).contains("hush"));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(bytes in proptest::collection::vec(any::<u8>(), 0..100), text in "[a,\"\r\n ]{0,30}") {
            drop(read(bytes));
            drop(read(text));
        }
    }
}
