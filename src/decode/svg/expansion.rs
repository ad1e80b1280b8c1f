//! What an SVG becomes when its references are followed, measured before anything follows them: a short file can name the
//! same mask, marker or symbol a million times over, or name itself.

use std::collections::HashMap;

use resvg::usvg::roxmltree::{Document, Node, NodeId};

/// Most elements after expansion; a tree of so many takes some 30 MiB.
const ELEMENTS_MAX: u64 = 20_000;

/// Most nesting after expansion: each level is several calls deep in the parser and in the renderer.
const DEPTH_MAX: u32 = 96;

/// Most (element, style rule) pairs: each is compared.
const STYLE_PAIRS_MAX: u64 = 10_000_000;

/// Bytes of text that count as an element: each glyph is a path.
const TEXT_BYTES_AN_ELEMENT: u64 = 8;

/// Bytes of path data that count as a point on which a marker may stand.
const PATH_BYTES_A_POINT: u64 = 3;

/// Measures a document; the error says which bound it passes.
pub fn check(document: &Document<'_>) -> Result<(), &'static str> {
    let mut expansion = Expansion { ids: HashMap::new(), rules: Vec::new(), known: HashMap::new(), rule_count: 0 };
    let mut elements = 0;
    for node in document.descendants().filter(Node::is_element) {
        elements += 1;
        if let Some(id) = node.attribute("id") {
            expansion.ids.entry(id).or_insert(node);
        }
    }
    let styles = document.descendants().filter(|node| node.is_element() && node.tag_name().name() == "style");
    let styles: Vec<String> =
        styles.map(|style| style.descendants().filter_map(|node| node.text()).collect()).collect();
    styles.iter().for_each(|style| expansion.read_style(style));
    if elements * expansion.rule_count > STYLE_PAIRS_MAX {
        return Err("too many style rules");
    }
    expansion.measure(document.root_element(), 0).map(|_| ())
}

/// What a subtree becomes.
#[derive(Clone, Copy, Default)]
struct Measure {
    elements: u64,
    depth: u32,
    points: u64,
}

struct Expansion<'a, 'd, 's> {
    ids: HashMap<&'a str, Node<'a, 'd>>,
    /// Style rules that refer to elements: selector and declarations.
    rules: Vec<(&'s str, &'s str)>,
    rule_count: u64,
    /// What has been measured; none while it is being measured.
    known: HashMap<NodeId, Option<Measure>>,
}

impl<'a, 'd, 's> Expansion<'a, 'd, 's> {
    /// Takes a sheet's rules apart: selectors before a brace, declarations behind it.
    fn read_style(&mut self, style: &'s str) {
        for rule in style.split('}') {
            self.rule_count += 1;
            let Some((selectors, declarations)) = rule.rsplit_once('{') else { continue };
            if !declarations.contains("url(") {
                continue;
            }
            let selectors = selectors.rsplit('{').next().unwrap_or_default();
            self.rules.extend(selectors.split(',').map(|selector| (selector.trim(), declarations)));
        }
    }

    fn measure(&mut self, node: Node<'a, 'd>, depth: u32) -> Result<Measure, &'static str> {
        if depth > DEPTH_MAX {
            return Err("elements are nested too deeply");
        }
        match self.known.insert(node.id(), None) {
            None => {}
            Some(None) => return Err("an element refers to itself"),
            Some(Some(known)) => {
                self.known.insert(node.id(), Some(known));
                return Ok(known);
            }
        }
        let mut sum = Measure { elements: 1, ..Measure::default() };
        for child in node.children() {
            if child.is_element() {
                let child = self.measure(child, depth + 1)?;
                sum.elements = sum.elements.saturating_add(child.elements);
                sum.points = sum.points.saturating_add(child.points);
                sum.depth = sum.depth.max(child.depth);
            } else if let Some(text) =
                child.text().filter(|_| !matches!(node.tag_name().name(), "style" | "title" | "desc"))
            {
                sum.elements = sum.elements.saturating_add(text.trim().len() as u64 / TEXT_BYTES_AN_ELEMENT);
            }
        }
        for name in ["d", "points"] {
            sum.points += node.attribute(name).map_or(0, |data| data.len() as u64 / PATH_BYTES_A_POINT);
        }
        for (how, target) in self.references(node) {
            let gradient = matches!(target.tag_name().name(), "linearGradient" | "radialGradient");
            let measure = self.measure(target, depth + 1)?;
            let times = match how {
                _ if gradient => 1,
                How::Once => 1,
                How::EachElement => sum.elements,
                How::EachPoint => sum.points.saturating_add(2),
            };
            let (elements, points) = (measure.elements.saturating_mul(times), measure.points.saturating_mul(times));
            sum.elements = sum.elements.saturating_add(elements);
            sum.points = sum.points.saturating_add(points);
            sum.depth = sum.depth.max(measure.depth);
        }
        sum.depth += 1;
        if sum.elements > ELEMENTS_MAX {
            return Err("it expands to too many elements");
        }
        if depth + sum.depth > DEPTH_MAX {
            return Err("elements are nested too deeply");
        }
        self.known.insert(node.id(), Some(sum));
        Ok(sum)
    }

    /// The elements that one refers to, and how often each is used there.
    fn references(&self, node: Node<'a, 'd>) -> Vec<(How, Node<'a, 'd>)> {
        let mut found = Vec::new();
        let mut add = |how, id: &str| found.extend(self.ids.get(id).map(|target| (how, *target)));
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            if name == "href" {
                // A link of `a` draws nothing.
                if let Some(id) = value.trim().strip_prefix('#').filter(|_| node.tag_name().name() != "a") {
                    add(How::Once, id);
                }
            } else if value.contains("url(") {
                let how = if name == "style" { How::of(value) } else { How::of(name) };
                urls(value).for_each(|id| add(how, id));
            }
        }
        for (selector, declarations) in &self.rules {
            if selects(selector, node) {
                urls(declarations).for_each(|id| add(How::of(declarations), id));
            }
        }
        found
    }
}

/// How often what is referred to is used.
#[derive(Clone, Copy)]
enum How {
    /// Once.
    Once,
    /// By every element below: paint is inherited.
    EachElement,
    /// On every point of every path below: markers are, too.
    EachPoint,
}

impl How {
    /// From a property's name, or declarations in which such stand.
    fn of(text: &str) -> Self {
        if text.contains("marker") {
            Self::EachPoint
        } else if text.contains("fill") || text.contains("stroke") {
            Self::EachElement
        } else {
            Self::Once
        }
    }
}

/// The identifiers in `url(#…)`.
fn urls(text: &str) -> impl Iterator<Item = &str> {
    text.split("url(").skip(1).filter_map(|rest| {
        let inner = rest.split(')').next()?.trim().trim_matches(['"', '\'']).trim();
        inner.strip_prefix('#')
    })
}

/// Whether a selector's last part may mean an element; in doubt it does.
fn selects(selector: &str, node: Node<'_, '_>) -> bool {
    let last =
        selector.split([' ', '>', '+', '~', '\n', '\t', '\r']).rfind(|part| !part.is_empty()).unwrap_or_default();
    let last = last.split([':', '[']).next().unwrap_or_default();
    let mut parts = last.split('.');
    let head = parts.next().unwrap_or_default();
    let classes = node.attribute("class").unwrap_or_default();
    if !parts.all(|class| classes.split_whitespace().any(|has| has == class)) {
        return false;
    }
    match head.split_once('#') {
        Some((_, id)) => node.attribute("id") == Some(id),
        None => head.is_empty() || head == "*" || head == node.tag_name().name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(svg: &str) -> Result<(), &'static str> {
        check(&Document::parse(svg).unwrap())
    }

    #[test]
    fn bombs_are_found() {
        let chain = |element: &str, attribute: &str, by: usize, levels: usize| {
            let mut svg = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg"><g id="l0"><path d="M0 0H1"/></g>"#);
            for level in 1..=levels {
                let before = level - 1;
                let users = format!(r#"<{element} {attribute}/>"#).replace("ID", &format!("l{before}")).repeat(by);
                svg += &format!(r#"<g id="l{level}">{users}</g>"#);
            }
            svg + "</svg>"
        };
        let use_bomb = chain("use", r##"href="#ID""##, 10, 8);
        let mask_bomb = chain("rect", r##"mask="url(#ID)""##, 10, 8);
        let deep = chain("use", r##"href="#ID""##, 1, 100);
        let nested =
            format!(r#"<svg xmlns="http://www.w3.org/2000/svg">{}{}</svg>"#, "<g>".repeat(200), "</g>".repeat(200));
        for (name, svg) in [("use", use_bomb), ("mask", mask_bomb), ("deep", deep), ("nested", nested)] {
            assert!(measured(&svg).is_err(), "{name}");
        }
        let markers = format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg"><marker id="m"><g/><g/><g/></marker><g marker-mid="url(#m)"><path d="M0 0{}"/></g></svg>"##,
            " 1 1".repeat(10_000)
        );
        assert!(measured(&markers).is_err());
    }

    #[test]
    fn cycles_are_found_through_styles_too() {
        for svg in [
            r##"<svg xmlns="http://www.w3.org/2000/svg"><g id="a"><use href="#a"/></g></svg>"##,
            r##"<svg xmlns="http://www.w3.org/2000/svg"><mask id="m"><rect style="clip-path:url(#c)"/></mask><clipPath id="c"><rect mask="url('#m')"/></clipPath></svg>"##,
            r##"<svg xmlns="http://www.w3.org/2000/svg"><style>.x, rect.y{mask:url(#m)}</style><mask id="m"><rect class="z y"/></mask></svg>"##,
        ] {
            assert_eq!(measured(svg), Err("an element refers to itself"), "{svg}");
        }
    }

    #[test]
    fn everyday_files_pass() {
        for svg in [
            r##"<svg xmlns="http://www.w3.org/2000/svg"><style>.x{clip-path:url(#c)}</style><clipPath id="c"><rect class="y"/></clipPath><g class="x"><rect/></g></svg>"##,
            r##"<svg xmlns="http://www.w3.org/2000/svg" id="top"><a href="#top"><text>up</text></a></svg>"##,
        ] {
            assert_eq!(measured(svg), Ok(()), "{svg}");
        }
        let map =
            format!(r#"<svg xmlns="http://www.w3.org/2000/svg">{}</svg>"#, r#"<path d="M0 0L5 5z"/>"#.repeat(15_000));
        assert_eq!(measured(&map), Ok(()));
    }
}
