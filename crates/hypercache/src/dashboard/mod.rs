//! The dashboard: one page that shows the cluster live, put together from three files at compile time.
//!
//! The page has no build step and loads nothing from elsewhere: style and script are inlined, so that one response
//! is all a browser needs, also where there is no way out to the internet.

const HTML: &str = include_str!("index.html");
const CSS: &str = include_str!("dashboard.css");
const JS: &str = include_str!("dashboard.js");

/// The whole page, to be served at `/` as `text/html; charset=utf-8`.
pub fn page() -> String {
    HTML.replacen("/*CSS*/", CSS, 1).replacen("/*JS*/", JS, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing_from_elsewhere() {
        let page = page();
        assert!(!page.contains("/*CSS*/") && !page.contains("/*JS*/"));
        assert!(page.contains(CSS) && page.contains(JS));
        for reference in ["stylesheet", "src=", "href=\"http", "@import", "url("] {
            assert!(!page.contains(reference), "{reference}");
        }
        assert_eq!(page.matches("</script>").count(), 1, "nothing in the script closes it early");
        assert_eq!(page.matches("</style>").count(), 1, "nothing in the style closes it early");
    }
}
