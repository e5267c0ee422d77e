//! What the tests share: a table with people, their key files, and the program.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use ceremony::script::Role;
use ceremony_tui::rehearsal::{Participant, Table};
use custody::genesis::Genesis;
use image::{GrayImage, ImageFormat, Luma};
use keys::device::DeviceKey;
use rand_core::OsRng;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_keyward-ceremony");

/// Who takes part; alice, bob and carol stand in the genesis of `fixtures`.
pub const PEOPLE: [(&str, Role); 6] = [
    ("alice", Role::Operator),
    ("bob", Role::SecurityOfficer),
    ("carol", Role::KeyCustodian),
    ("dora", Role::KeyCustodian),
    ("emil", Role::KeyCustodian),
    ("walter", Role::Witness),
];

/// A room with people at a table.
pub struct Room {
    pub directory: TempDir,
    pub genesis: Genesis,
    pub people: Vec<Participant>,
}

impl Room {
    pub fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let mut genesis = fixtures::newest();
        let people = PEOPLE.map(|(id, role)| {
            let (key, passphrase) = (DeviceKey::generate(&mut OsRng), format!("the passphrase of {id}"));
            let device = directory.path().join(format!("{id}.key"));
            fs::write(&device, key.to_file(&passphrase, &mut OsRng).unwrap()).unwrap();
            let known = genesis.people.iter_mut().find(|person| person.id.as_str() == id);
            if let Some(person) = known {
                (person.keys[0].sign, person.keys[0].tls) = (key.public().sign, key.public().tls);
            }
            Participant { id: id.into(), role, key: key.public().sign, device, passphrase }
        });
        genesis.check().unwrap();
        fs::write(directory.path().join("genesis.json"), genesis.bytes()).unwrap();
        Self { directory, genesis, people: people.to_vec() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn table(&self) -> Table {
        let genesis = self.path("genesis.json");
        Table::new(&self.path("table"), self.people.clone(), &genesis, 2).unwrap()
    }
}

pub fn program() -> &'static Path {
    Path::new(PROGRAM)
}

/// What a terminal draws with half blocks, light on dark, as an image: four pixels to a half.
pub fn drawn(lines: &[String]) -> Vec<u8> {
    let cells: Vec<Vec<char>> = lines.iter().map(|line| line.chars().collect()).collect();
    let side = u32::try_from(cells[0].len()).unwrap() * 4;
    let image = GrayImage::from_fn(side, side, |x, y| {
        let (column, row) = ((x / 4) as usize, (y / 4) as usize);
        let light = match cells[row / 2][column] {
            '█' => true,
            '▀' => row % 2 == 0,
            '▄' => row % 2 == 1,
            _ => false,
        };
        Luma([if light { 255 } else { 0 }])
    });
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}
