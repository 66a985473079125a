//! Tables as grids: a cell that spans rows or columns holds for each of them.

use super::{
    Block, Kind,
    dom::{Dom, Id},
    inline,
};
use crate::chunk::word_count;

/// The most columns that a cell spans, and the most places of a grid. Beyond them no cell spans.
const COLUMNS: usize = 1000;
const PLACES: usize = 1 << 18;
/// The most words of a cell of data.
const CELL: usize = 60;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    /// Whether the page says that it holds no data.
    is_layout: bool,
}

#[derive(Debug)]
pub(super) struct Row {
    /// Whether it is in the head of the table.
    pub(super) is_head: bool,
    pub(super) cells: Vec<Cell>,
}

#[derive(Debug)]
pub(super) struct Cell {
    pub(super) blocks: Vec<Block>,
    pub(super) is_header: bool,
    pub(super) is_bold: bool,
    /// How many rows and columns it spans.
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A place of the grid: the row and the number of its cell.
type Place = Option<(usize, usize)>;

impl Table {
    pub(super) fn new(dom: &Dom, id: Id) -> Self {
        let role = dom.attribute(id, "role");
        Self {
            rows: Vec::new(),
            is_layout: role.is_some_and(|role| matches!(role, "presentation" | "none")),
        }
    }

    /// Returns a row of text for each row of data. A table without names of columns is laid out as paragraphs if its cells are not
    /// short.
    pub(super) fn blocks(self) -> Vec<Block> {
        let grid = self.grid();
        let width = grid.iter().map(Vec::len).max().unwrap_or(0);
        let heads: Vec<bool> = (0..grid.len())
            .map(|row| self.is_head(&grid, row))
            .collect();
        let has_names = heads.contains(&true) && heads.contains(&false);
        if self.is_layout || width <= 1 || (!has_names && self.has_long_cells()) {
            let cells = self.rows.into_iter().flat_map(|row| row.cells);
            return cells.flat_map(Cell::paragraphs).collect();
        }
        let mut blocks = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (at, places) in grid.iter().enumerate() {
            if let Some(cell) = self.only(places, width) {
                let is_title = cell.is_header || cell.is_bold || self.rows[at].is_head;
                let kind = if is_title {
                    Kind::Heading(7)
                } else {
                    Kind::Text
                };
                blocks.push(Block::new(kind, cell.text()));
            } else if heads[at] && has_names {
                if at == 0 || !heads[at - 1] {
                    names = vec![String::new(); width];
                }
                for (name, place) in names.iter_mut().zip(places) {
                    let more = self.text(*place);
                    if !more.is_empty() && *name != more {
                        inline::blank(name);
                        name.push_str(&more);
                    }
                }
            } else {
                blocks.push(Block::new(Kind::Row, self.row(places, &names)));
            }
        }
        blocks
    }

    fn grid(&self) -> Vec<Vec<Place>> {
        let mut left = PLACES;
        let mut grid: Vec<Vec<Place>> = vec![Vec::new(); self.rows.len()];
        for (at, row) in self.rows.iter().enumerate() {
            let mut column = 0;
            for (number, cell) in row.cells.iter().enumerate() {
                while grid[at].get(column).is_some_and(Option::is_some) {
                    column += 1;
                }
                let columns = cell.columns.clamp(1, COLUMNS);
                // Zero spans all rows below.
                let below = self.rows.len() - at;
                let rows = if cell.rows == 0 {
                    below
                } else {
                    cell.rows.min(below)
                };
                let is_small = rows * columns <= left;
                let (rows, columns) = if is_small { (rows, columns) } else { (1, 1) };
                left = left.saturating_sub(rows * columns);
                for places in grid[at..].iter_mut().take(rows) {
                    if places.len() < column + columns {
                        places.resize(column + columns, None);
                    }
                    places[column..column + columns].fill(Some((at, number)));
                }
                column += columns;
            }
        }
        grid
    }

    fn cell(&self, place: Place) -> Option<&Cell> {
        place.map(|(row, number)| &self.rows[row].cells[number])
    }

    fn text(&self, place: Place) -> String {
        self.cell(place).map(Cell::text).unwrap_or_default()
    }

    /// Returns the cell that spans a whole row.
    fn only(&self, places: &[Place], width: usize) -> Option<&Cell> {
        let first = *places.first()?;
        let is_only = places.len() == width && places.iter().all(|place| *place == first);
        self.cell(first).filter(|cell| is_only && cell.columns > 1)
    }

    /// Returns whether a row names the columns: all its cells are headers, or bold, or it is the first and the only one without
    /// numbers.
    fn is_head(&self, grid: &[Vec<Place>], at: usize) -> bool {
        let cells = |row: usize| grid[row].iter().filter_map(|place| self.cell(*place));
        let filled = || cells(at).filter(|cell| !cell.blocks.is_empty());
        if filled().count() < 2 || self.only(&grid[at], grid[at].len()).is_some() {
            return false;
        }
        let is_first = |row: usize| {
            at == row || (at == row + 1 && self.only(&grid[row], grid[row].len()).is_some())
        };
        self.rows[at].is_head
            || filled().all(|cell| cell.is_header)
            || (is_first(0) && filled().all(|cell| cell.is_bold))
            || (is_first(0)
                && grid.len() > at + 2
                && !cells(at).any(Cell::has_number)
                && (at + 1..grid.len()).all(|row| cells(row).skip(1).any(Cell::has_number)))
    }

    fn has_long_cells(&self) -> bool {
        let mut cells = self.rows.iter().flat_map(|row| &row.cells);
        cells.any(|cell| {
            let structured = |block: &Block| !matches!(block.kind, Kind::Text);
            cell.blocks.iter().any(structured) || word_count(&cell.text()) > CELL
        })
    }

    fn row(&self, places: &[Place], names: &[String]) -> String {
        let header = self.cell(places.first().copied().flatten());
        let mut out = String::new();
        let mut before = None;
        for (column, place) in places.iter().enumerate() {
            let name = names
                .get(column)
                .map_or("", |name| name.trim_end_matches(':'));
            let text = self.text(*place);
            let is_repeated = place.is_some() && *place == before;
            if text.is_empty() || (is_repeated && name.is_empty()) {
                continue;
            }
            if !out.is_empty() {
                out.push_str(match before {
                    _ if !names.is_empty() => "; ",
                    Some(first)
                        if Some(first) == places[0]
                            && header.is_some_and(|cell| cell.is_header) =>
                    {
                        ": "
                    }
                    _ => " | ",
                });
            }
            if !name.is_empty() {
                out.push_str(&format!("{name}: "));
            }
            out.push_str(&text);
            before = *place;
        }
        out
    }
}

impl Cell {
    fn text(&self) -> String {
        let mut text = String::new();
        let mut before = None;
        for block in self.blocks.iter().filter(|block| block.kind != Kind::Rule) {
            if let Some(before) = before {
                let is_list = block.kind == before && matches!(before, Kind::Item | Kind::Row);
                text.push_str(if is_list { ", " } else { " " });
            }
            before = Some(block.kind);
            if block.mark != "- " {
                text.push_str(&block.mark);
            }
            text.push_str(&inline::one_line(&block.text));
        }
        text
    }

    fn has_number(&self) -> bool {
        self.text().contains(|c: char| c.is_ascii_digit())
    }

    fn paragraphs(self) -> Vec<Block> {
        let is_title = self.is_header && self.blocks.len() == 1;
        let title = is_title.then(|| vec![Block::new(Kind::Heading(7), self.text())]);
        title.unwrap_or(self.blocks)
    }
}
