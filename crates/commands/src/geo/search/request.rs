//! The words of a search, in the order in which Redis reads and refuses them (`georadiusGeneric`).

use crate::args::Args;
use crate::error::{CommandError, Outcome, integer};
use crate::geo::area::{Area, Shape};
use crate::geo::{Position, unit};
use store::SortedSetRef;

/// Which command it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// GEORADIUS, and with `true` GEORADIUS_RO.
    AroundPosition(bool),
    /// GEORADIUSBYMEMBER, and with `true` GEORADIUSBYMEMBER_RO.
    AroundMember(bool),
    /// GEOSEARCH.
    Search,
    /// GEOSEARCHSTORE.
    SearchStore,
}

impl Form {
    /// Where the key is that is searched.
    pub(super) fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    fn may_store(self) -> bool {
        matches!(self, Form::AroundPosition(false) | Form::AroundMember(false))
    }
}

/// The order of what is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    None,
    Ascending,
    Descending,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    center: Option<Position>,
    /// By its lengths in the unit.
    shape: Option<Shape>,
    /// Metres of a unit.
    pub(super) unit: f64,
    pub(super) sort: Sort,
    /// 0: all.
    pub(super) count: usize,
    /// The first that are found will do.
    pub(super) any: bool,
    pub(super) with_distance: bool,
    pub(super) with_hash: bool,
    pub(super) with_position: bool,
    pub(super) store: Option<&'a [u8]>,
    pub(super) store_distance: bool,
    is_from_member: bool,
    is_from_position: bool,
}

impl<'a> Request<'a> {
    /// Reads all words. `set` is what is searched: a member may be the centre.
    pub(super) fn parse(args: Args<'a>, form: Form, set: Option<SortedSetRef<'_>>) -> Outcome<Request<'a>> {
        let mut request = Request {
            center: None,
            shape: None,
            unit: 1.0,
            sort: Sort::None,
            count: 0,
            any: false,
            with_distance: false,
            with_hash: false,
            with_position: false,
            store: None,
            store_distance: false,
            is_from_member: false,
            is_from_position: false,
        };
        let options = match form {
            Form::AroundPosition(_) => {
                request.center = Some(Position::parse(args.at(2), args.at(3))?);
                request.set_circle(args.at(4), args.at(5))?;
                args.tail(6)
            }
            Form::AroundMember(_) => {
                // Without a set the words behind the key are not even looked at.
                if let Some(set) = set {
                    request.set_center(set, args.at(2))?;
                    request.set_circle(args.at(3), args.at(4))?;
                }
                args.tail(5)
            }
            Form::Search => args.tail(2),
            Form::SearchStore => {
                request.store = Some(args.at(1));
                args.tail(3)
            }
        };
        let mut rest = options;
        while !rest.is_empty() {
            rest = request.take_option(rest, form, set)?;
        }
        request.check(form, args.name())?;
        if request.count > 0 && request.sort == Sort::None && !request.any {
            // The nearest are meant.
            request.sort = Sort::Ascending;
        }
        Ok(request)
    }

    /// The area in metres; there is one whenever there is a set to be searched.
    pub(super) fn area(&self) -> Option<Area> {
        let unit = self.unit;
        let shape = match self.shape? {
            Shape::Circle { radius } => Shape::Circle { radius: radius * unit },
            Shape::Box { width, height } => Shape::Box { width: width * unit, height: height * unit },
        };
        Some(Area { center: self.center?, shape })
    }

    /// Reads one option; the words behind it.
    fn take_option<'w>(
        &mut self,
        words: &'w [&'a [u8]],
        form: Form,
        set: Option<SortedSetRef<'_>>,
    ) -> Outcome<&'w [&'a [u8]]> {
        let Some((option, rest)) = words.split_first() else { return Ok(words) };
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        let flags = [
            ("withdist", &mut self.with_distance),
            ("withhash", &mut self.with_hash),
            ("withcoord", &mut self.with_position),
            ("any", &mut self.any),
        ];
        if let Some((_, flag)) = flags.into_iter().find(|(name, _)| is(name)) {
            *flag = true;
            return Ok(rest);
        }
        match rest {
            _ if is("asc") => self.sort = Sort::Ascending,
            _ if is("desc") => self.sort = Sort::Descending,
            [count, rest @ ..] if is("count") => {
                let count = integer(count)?;
                if count <= 0 {
                    return Err(CommandError::Other("COUNT must be > 0"));
                }
                self.count = usize::try_from(count).unwrap_or(usize::MAX);
                return Ok(rest);
            }
            [key, rest @ ..] if form.may_store() && (is("store") || is("storedist")) => {
                (self.store, self.store_distance) = (Some(*key), is("storedist"));
                return Ok(rest);
            }
            _ if form == Form::SearchStore && is("storedist") => self.store_distance = true,
            _ if form.is_search() => return self.take_search_option(words, set),
            _ => return Err(CommandError::Syntax),
        }
        Ok(rest)
    }

    /// The same for what only GEOSEARCH and GEOSEARCHSTORE have.
    fn take_search_option<'w>(
        &mut self,
        words: &'w [&'a [u8]],
        set: Option<SortedSetRef<'_>>,
    ) -> Outcome<&'w [&'a [u8]]> {
        let Some((option, rest)) = words.split_first() else { return Ok(words) };
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        match rest {
            [member, rest @ ..] if is("frommember") && !self.is_from_position => {
                if let Some(set) = set {
                    self.set_center(set, member)?;
                }
                self.is_from_member = true;
                Ok(rest)
            }
            [longitude, latitude, rest @ ..] if is("fromlonlat") && !self.is_from_member => {
                self.center = Some(Position::parse(longitude, latitude)?);
                self.is_from_position = true;
                Ok(rest)
            }
            [radius, unit, rest @ ..] if is("byradius") && !matches!(self.shape, Some(Shape::Box { .. })) => {
                self.set_circle(radius, unit)?;
                Ok(rest)
            }
            [width, height, unit, rest @ ..]
                if is("bybox") && !matches!(self.shape, Some(Shape::Circle { .. })) =>
            {
                self.set_box(width, height, unit)?;
                Ok(rest)
            }
            _ => Err(CommandError::Syntax),
        }
    }

    fn set_center(&mut self, set: SortedSetRef<'_>, member: &[u8]) -> Outcome<()> {
        let position = Position::of_member(set, member);
        self.center = Some(position.ok_or(CommandError::Other("could not decode requested zset member"))?);
        Ok(())
    }

    fn set_circle(&mut self, radius: &[u8], word: &[u8]) -> Outcome<()> {
        let radius = protocol::parse_f64(radius).ok_or(CommandError::Other("need numeric radius"))?;
        if radius < 0.0 {
            return Err(CommandError::Other("radius cannot be negative"));
        }
        (self.shape, self.unit) = (Some(Shape::Circle { radius }), unit(word)?);
        Ok(())
    }

    fn set_box(&mut self, width: &[u8], height: &[u8], word: &[u8]) -> Outcome<()> {
        let width = protocol::parse_f64(width).ok_or(CommandError::Other("need numeric width"))?;
        let height = protocol::parse_f64(height).ok_or(CommandError::Other("need numeric height"))?;
        if height < 0.0 || width < 0.0 {
            return Err(CommandError::Other("height or width cannot be negative"));
        }
        (self.shape, self.unit) = (Some(Shape::Box { width, height }), unit(word)?);
        Ok(())
    }

    /// Refuses what does not go together or is missing.
    fn check(&self, form: Form, name: &[u8]) -> Outcome<()> {
        if self.store.is_some() && (self.with_distance || self.with_hash || self.with_position) {
            return Err(CommandError::Other(if form == Form::SearchStore {
                "GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            } else {
                "STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            }));
        }
        let one_of = |what: &str| {
            let name = String::from_utf8_lossy(name);
            Err(CommandError::Echo(format!("exactly one of {what} can be specified for {name}")))
        };
        if form.is_search() && !self.is_from_member && !self.is_from_position {
            return one_of("FROMMEMBER or FROMLONLAT");
        }
        if form.is_search() && self.shape.is_none() {
            return one_of("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(CommandError::Other("the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}
